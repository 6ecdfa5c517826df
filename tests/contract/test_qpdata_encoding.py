"""What QuPath wrote, decoded to nouns and written anew, has the same bytes.

Not known to the nouns, and therefore taken from the file by these tests:

- texts that are the image's own: server, stains, id of the root, properties;
- colors of base classes that no object has (the project's list of classes tells them);
- the shape of the TMA grid, of which the objects only hold the cores;
- the history of what was done in QuPath (the workflow);
- which of four kinds of list keeps an object's measurements: it says how they were made, not what they are;
- the class of the lists of names, which Java changed between the versions of QuPath;
- whether a polygon repeats its first corner at the end, which changes no outline.
"""

import io
import struct
from collections.abc import Mapping

import numpy as np
import pytest

from qpbridge.core.objects import PathClass
from qpbridge.qupath.encoding import image_data, java_classes
from qpbridge.qupath.encoding.image_data import ImageDetails, write_qpdata
from qpbridge.qupath.java.objects import JavaObject
from qpbridge.qupath.java.stream import read_contents
from qpbridge.qupath.java.values import is_map, list_of, map_of, unboxed
from qpbridge.qupath.java.writer import ClassDescriptor
from qpbridge.qupath.qpdata import read_qpdata, rgb_of

TEXT = "Ljava/lang/String;"
STEP = ClassDescriptor(
    "qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep",
    (("map", "Ljava/util/Map;"), ("name", TEXT), ("script", TEXT)),
)
ONE_PAIR = ClassDescriptor(
    "java.util.Collections$SingletonMap",
    (("k", "Ljava/lang/Object;"), ("v", "Ljava/lang/Object;")),
    uid=-6979724477215052911,
)
ORDERED_MAP = ClassDescriptor(
    "java.util.LinkedHashMap", (("accessOrder", "Z"),), uid=3801124242820219131, parent=java_classes.HASH_MAP
)
FLOAT_LIST = ClassDescriptor(
    "qupath.lib.measurements.NumericMeasurementList$FloatList",
    (("values", "[F"),),
    parent=java_classes.DOUBLE_LIST.parent,
)
COLLECTION = ClassDescriptor(
    "java.util.Collections$UnmodifiableCollection", (("c", "Ljava/util/Collection;"),), uid=1820017752578914078
)
UNMODIFIABLE = ClassDescriptor(
    "java.util.Collections$UnmodifiableList",
    (("list", "Ljava/util/List;"),),
    uid=-283967356065247728,
    parent=COLLECTION,
)


def named(item, name):
    return type(item) is JavaObject and item.java_class.name.endswith(name)


def base_classes(path_class):
    """Yield the classes that one is derived from, the nearest first."""
    names, part = [], path_class
    while part is not None:
        names.insert(0, part.fields["name"])
        part = part.fields["parentClass"]
    part = path_class.fields["parentClass"]
    while part is not None:
        names.pop()
        yield PathClass(": ".join(names), rgb_of(part.fields["colorRGB"]))
        part = part.fields["parentClass"]


class Theirs:
    """What a file of QuPath holds beside the nouns."""

    def __init__(self, data):
        contents = list(read_contents(data))
        self.server_json = contents[1]
        self.stains = next((item.items[1] for item in contents if named(item, "Stains")), None)
        self.steps = next(item.items[1:] for item in contents if named(item, "Workflow"))
        self.properties = {key: unboxed(value) for key, value in map_of(contents[-2]).items()}
        hierarchy = next(item for item in contents if named(item, "Hierarchy"))
        grid = hierarchy.fields["tmaGrid"]
        self.tma_grid = None if grid is None else (grid.fields["gridHeight"], grid.fields["gridWidth"])
        self.root_id = list_of(hierarchy.fields["rootObject"].items[2].items[2])[-1]
        self.lists = {}
        self.repeated = []
        self.classes = []
        self._walk(hierarchy.fields["rootObject"])

    def write_measurements(self, java, item):
        LISTS[self.lists[item.id]](java, item.measurements)

    def _walk(self, item):
        for part in item.items:
            if named(part, "MetadataMap"):
                object_id = list_of(part.items[2])[list_of(part.items[1]).index("Object ID")]
            elif named(part, "List"):
                self.lists[object_id] = part.java_class.name, part.fields.get("isClosed", False)
            elif named(part, "PolygonROI$SerializationProxy"):
                x, y = (np.asarray(part.fields[name], dtype=">f4") for name in "xy")
                self.repeated += [x, y] if x[0] == x[-1] and y[0] == y[-1] else []
            elif named(part, "PathClass"):
                self.classes += base_classes(part)
            elif named(part, "Object") and "PathObject" in "".join(part.java_class.lineage):
                self._walk(part)


def write_steps(java, theirs):
    java.begin(java_classes.WORKFLOW)
    java.block(struct.pack(">ii", 1, len(theirs.steps)))
    for step in theirs.steps:
        java.begin(STEP)
        write_parameters(java, step.fields["map"])
        java.string(step.fields["name"])
        java.string(step.fields["script"])
    java.end()


def write_parameters(java, parameters):
    if parameters is None:
        java.null()
    elif named(parameters, "SingletonMap"):
        java.begin(ONE_PAIR)
        java.string(parameters.fields["k"])
        java.fields("Bi", 0x71, 0x7E0009)  # the image type again
    else:
        assert is_map(parameters)
        java.begin(ORDERED_MAP)
        java.fields("fi", 0.75, parameters.fields["threshold"])
        java.block(parameters.items[0])
        for text in parameters.items[1:]:
            java.string(text)
        java.end()
        java.fields("?", parameters.fields["accessOrder"])


def write_unmodifiable(java, names):
    java.begin(UNMODIFIABLE, ("names", names))
    java.begin(java_classes.ARRAY_LIST, ("listed", names))
    java.fields("i", len(names))
    java.block(struct.pack(">i", len(names)))
    for name in names:
        java.shared_string(name)
    java.end()
    java.refer(("listed", names))


def write_floats(java, measurements: Mapping[str, float]):
    java.begin(FLOAT_LIST)
    java.fields("?", True)
    image_data._write_names(java, tuple(measurements))
    values = np.array(list(measurements.values()), dtype=">f4")
    java.array(java_classes.FLOATS, len(values), values.tobytes())


def write_open_floats(java, measurements: Mapping[str, float]):
    """Write a list that has room for more, and a list of names of its own."""
    java.begin(FLOAT_LIST)
    java.fields("?", False)
    java.null()  # no map
    java.begin(java_classes.ARRAY_LIST)
    java.fields("i", len(measurements))
    java.block(struct.pack(">i", len(measurements)))
    for name in measurements:
        java.shared_string(name)
    java.end()
    values = np.zeros(8, dtype=">f4")
    values[: len(measurements)] = list(measurements.values())
    java.array(java_classes.FLOATS, len(values), values.tobytes())


LISTS = {
    (FLOAT_LIST.name, True): write_floats,
    (FLOAT_LIST.name, False): write_open_floats,
    (java_classes.DOUBLE_LIST.name, True): image_data._write_numeric_list,
    (java_classes.MEASUREMENT_LIST.name, False): image_data._write_measurement_list,
}


def without_repeated_corners(data, theirs):
    for values in theirs.repeated:
        head, content = struct.pack(">i", len(values)), values.tobytes()
        assert data.count(head + content) == 1
        data = data.replace(head + content, struct.pack(">i", len(values) - 1) + content[:-4])
    return data


@pytest.mark.parametrize("version", ["0.5.1", "0.6.0", "0.7.0"])
@pytest.mark.parametrize("entry_id", ["1", "2", "4", "5"])
def test_an_entry_of_qupath_is_encoded_byte_for_byte(data_dir, monkeypatch, version, entry_id):
    data = (data_dir / "made" / f"qp-{version}" / "project" / "data" / entry_id / "data.qpdata").read_bytes()
    theirs, nouns = Theirs(data), read_qpdata(data)
    monkeypatch.setattr(image_data, "_write_workflow", lambda java: write_steps(java, theirs))
    monkeypatch.setattr(image_data, "_write_measurements", theirs.write_measurements)
    if version == "0.5.1":
        monkeypatch.setattr(image_data, "_write_list", write_unmodifiable)
    image = ImageDetails(
        server_json=theirs.server_json,
        root_id=theirs.root_id,
        image_type=nouns.image_type,
        stains=theirs.stains,
        tma_grid=theirs.tma_grid,
        properties=theirs.properties,
    )
    ours = io.BytesIO()

    write_qpdata(ours, image, nouns.objects, theirs.classes)

    assert ours.getvalue() == without_repeated_corners(data, theirs)


@pytest.mark.parametrize(("version", "count"), [("0.5.1", 0), ("0.6.0", 1), ("0.7.0", 1)])
def test_only_one_outline_of_the_newer_versions_repeats_its_first_corner(data_dir, version, count):
    files = (data_dir / "made" / f"qp-{version}").rglob("data.qpdata")

    repeated = [values for path in files for values in Theirs(path.read_bytes()).repeated]

    assert len(repeated) == 2 * count  # x and y
