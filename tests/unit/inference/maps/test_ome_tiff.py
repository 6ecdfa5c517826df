import contextlib
import errno
import itertools
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from shapely import box

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import DiskFullError
from qpbridge.inference.interest import Interest
from qpbridge.inference.maps import ome_tiff as module
from qpbridge.inference.maps.blending import Plan, Strip, rows_of
from qpbridge.inference.maps.ome_tiff import CERTAIN, probability_map
from qpbridge.models.spec import ModelClass

CLASSES = tuple(
    ModelClass(name=name, color_rgb=color, is_written=name != "Rest")
    for name, color in (("Tumor", (200, 0, 0)), ("Stroma: µ", (0, 0, 255)), ("Rest", (9, 9, 9)))
)
TRUE = PixelCalibration(mpp_x=0.499, mpp_y=0.501)
NAMESPACE = {"": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}


class Keeping:
    def __init__(self) -> None:
        self.strips: list[Strip] = []

    def take(self, strip: Strip) -> None:
        self.strips.append(strip)

    @property
    def bytes(self) -> Any:
        return np.rint(np.concatenate([one.probabilities for one in self.strips], axis=1) * CERTAIN)


def write(path: Path, predicting: Any, interest: Interest | None = None) -> Keeping:
    keeping = Keeping()
    engine, scene = predicting.engine(predicting.blur(radius=2), 40), predicting.scene(interest=interest)
    with probability_map(path, CLASSES, TRUE) as writer:
        list(rows_of(engine, scene, SilentProgress(), Plan(margin_px=4, takers=(keeping, writer))))
    return keeping


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE_PX", 32)
    monkeypatch.setattr(module, "_SMALLEST_PX", 50)


@pytest.mark.usefixtures("small_tiles")
def test_every_level_shows_the_probabilities(predicting: Any, tmp_path: Path) -> None:
    keeping = write(tmp_path / "a.probabilities.ome.tif", predicting)

    with tifffile.TiffFile(tmp_path / "a.probabilities.ome.tif") as tiff:
        (series,) = tiff.series
        levels = [level.asarray() for level in series.levels]
        assert {page.compression for page in tiff.pages} == {tifffile.COMPRESSION.ADOBE_DEFLATE}
    np.testing.assert_array_equal(levels[0], keeping.bytes)
    assert [level.shape for level in levels] == [(3, 110, 150), (3, 55, 75), (3, 28, 38)]
    for finer, coarser in itertools.pairwise(levels):
        even = np.pad(finer, [(0, 0), (0, finer.shape[1] % 2), (0, finer.shape[2] % 2)], mode="edge").astype(float)
        means = even.reshape(3, coarser.shape[1], 2, coarser.shape[2], 2).mean(axis=(2, 4))
        np.testing.assert_array_equal(coarser, np.floor(means + 0.5))


def test_the_metadata_name_classes_colors_and_true_pixel_size(predicting: Any, tmp_path: Path) -> None:
    write(tmp_path / "a.probabilities.ome.tif", predicting)

    with tifffile.TiffFile(tmp_path / "a.probabilities.ome.tif") as tiff:
        root = ET.fromstring(tiff.ome_metadata)
        assert tiff.is_bigtiff
    image = root.find("Image", NAMESPACE)
    pixels = root.find("Image/Pixels", NAMESPACE)
    assert image is not None
    assert pixels is not None
    assert image.get("Name") == "a"
    assert (pixels.get("Type"), pixels.get("SizeC"), pixels.get("SizeX"), pixels.get("SizeY")) == (
        *("uint8", "3", "150", "110"),
    )
    assert (float(pixels.get("PhysicalSizeX", 0)), float(pixels.get("PhysicalSizeY", 0))) == (0.499, 0.501)
    assert pixels.get("PhysicalSizeXUnit") == "µm"
    channels = pixels.findall("Channel", NAMESPACE)
    assert [one.get("Name") for one in channels] == ["Tumor", "Stroma: µ", "Rest"]
    colors = [int(one.get("Color", 0)) & 0xFFFFFFFF for one in channels]
    assert colors == [0xC80000FF, 0x0000FFFF, 0x090909FF]


@pytest.mark.usefixtures("small_tiles")
def test_a_window_of_interest_lies_in_the_map_where_it_lies_on_the_slide(predicting: Any, tmp_path: Path) -> None:
    interest = Interest.of([box(37, 41, 99, 80)], Region(x_px=0, y_px=0, width_px=150, height_px=110))

    keeping = write(tmp_path / "a.ome.tif", predicting, interest)

    shown = tifffile.imread(tmp_path / "a.ome.tif")
    assert shown.shape == (3, 110, 150)
    np.testing.assert_array_equal(shown[:, 41:80, 37:99], keeping.bytes)
    shown[:, 41:80, 37:99] = 0
    assert not shown.any()


def test_a_map_appears_only_when_it_is_whole(predicting: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"older")
    keeping = write(tmp_path / "b.ome.tif", predicting)

    with contextlib.suppress(KeyboardInterrupt), probability_map(path, CLASSES, TRUE) as writer:
        writer.take(keeping.strips[0])
        raise KeyboardInterrupt

    assert path.read_bytes() == b"older"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.ome.tif", "b.ome.tif"]


def test_a_full_disk_is_told_and_leaves_nothing(
    predicting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(module.MapWriter, "_store", full)

    with pytest.raises(DiskFullError, match="no space left"):
        write(tmp_path / "a.ome.tif", predicting)

    assert not list(tmp_path.iterdir())
