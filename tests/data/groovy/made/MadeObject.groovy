package made

import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.Geometry
import org.locationtech.jts.geom.GeometryFactory
import org.locationtech.jts.geom.util.AffineTransformation

/** An outline as an object of QuPath, with what the scripts ask of one and of its ROI. */
class MadeObject {
    static final GeometryFactory JTS = new GeometryFactory()

    UUID id = UUID.randomUUID()
    Geometry geometry
    String pathClass, name, description
    boolean locked, detection
    Map measurements = [:]

    static MadeObject of(Map feature) {
        def told = feature.get('properties') ?: [:]
        return new MadeObject(id: UUID.fromString(feature.id as String), geometry: shape(feature.geometry), name: told.name,
            pathClass: told.classification?.name, locked: told.isLocked ?: false, detection: told.objectType == 'detection', measurements: told.measurements ?: [:])
    }

    static MadeObject box(Map fields = [:], double x, double y, double width, double height) {
        new MadeObject(fields + [geometry: polygon([[[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]])])
    }

    private static Geometry shape(Map told) {
        told.type == 'Polygon' ? polygon(told.coordinates) : JTS.createMultiPolygon(told.coordinates.collect { polygon(it) } as org.locationtech.jts.geom.Polygon[])
    }

    private static Geometry polygon(List rings) {
        def made = rings.collect { ring -> JTS.createLinearRing(ring.collect { new Coordinate(it[0] as double, it[1] as double) } as Coordinate[]) }
        return JTS.createPolygon(made.head(), made.tail() as org.locationtech.jts.geom.LinearRing[])
    }

    Map feature() {
        def parts = (0..<geometry.numGeometries).collect { geometry.getGeometryN(it) }
        def coordinates = parts.collect { part -> [part.exteriorRing, *(0..<part.numInteriorRing).collect { part.getInteriorRingN(it) }].collect { ring -> ring.coordinates.collect { [it.x, it.y] } } }
        return [type: 'Feature', id: id.toString(), geometry: [type: parts.size() > 1 ? 'MultiPolygon' : 'Polygon', coordinates: parts.size() > 1 ? coordinates : coordinates[0]],
                properties: [objectType: detection ? 'detection' : 'annotation', isLocked: locked] + (pathClass ? [classification: [name: pathClass, color: [1, 2, 3]]] : [:])]
    }

    void move(double x, double y) { geometry = AffineTransformation.translationInstance(x, y).transform(geometry) }

    UUID getID() { id }

    Map getMetadata() { description ? [ANNOTATION_DESCRIPTION: description] : [:] }

    Object getPathClass() { pathClass }
    boolean isRootObject() { false }
    boolean isTMACore() { false }
    boolean isAnnotation() { !detection }
    boolean isCell() { false }
    boolean isArea() { true }
    int getZ() { 0 }
    int getT() { 0 }
    MadeObject getROI() { this }
    List getAllPoints() { geometry.coordinates as List }
    double getBoundsX() { geometry.envelopeInternal.minX }
    double getBoundsY() { geometry.envelopeInternal.minY }
    double getBoundsWidth() { geometry.envelopeInternal.width }
    double getBoundsHeight() { geometry.envelopeInternal.height }
}
