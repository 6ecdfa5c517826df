"""GeoJSON as QuPath's versions read and write it. Coordinates in level-0 px."""

from qpbridge.qupath.geojson.reading import GeoJsonObjects, parse_objects, read_objects
from qpbridge.qupath.geojson.writing import Written, feature_lines, write_objects

__all__ = ["GeoJsonObjects", "Written", "feature_lines", "parse_objects", "read_objects", "write_objects"]
