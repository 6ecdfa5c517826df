package qupath.lib.io

import com.google.gson.Gson
import made.MadeObject

class PathIO {
    enum GeoJsonExportOptions { PRETTY_JSON, EXCLUDE_MEASUREMENTS, FEATURE_COLLECTION }

    static void exportObjectsAsGeoJSON(OutputStream stream, Collection objects, GeoJsonExportOptions... options) {
        stream.write(new Gson().toJson([type: 'FeatureCollection', features: objects.collect { it.feature() }]).bytes)
    }

    static List readObjectsFromGeoJSON(InputStream stream) {
        def told = new Gson().fromJson(new InputStreamReader(stream, 'UTF-8'), Object)
        return (told instanceof List ? told : told.features).collect { MadeObject.of(it) }
    }
}
