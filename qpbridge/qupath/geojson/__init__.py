"""GeoJSON as QuPath's versions read and write it. Coordinates in level-0 px."""

from qpbridge.qupath.geojson.acceptance import QupathVersion, Taken, Verdict, judge, judge_feature, judge_file
from qpbridge.qupath.geojson.reading import GeoJsonObjects, parse_objects, read_objects
from qpbridge.qupath.geojson.writing import Written, feature_lines, write_objects

__all__ = [
    "GeoJsonObjects",
    "QupathVersion",
    "Taken",
    "Verdict",
    "Written",
    "feature_lines",
    "judge",
    "judge_feature",
    "judge_file",
    "parse_objects",
    "read_objects",
    "write_objects",
]
