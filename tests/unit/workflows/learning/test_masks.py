from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import shapely

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.objects import ObjectKind
from qpbridge.core.progress import SilentProgress
from qpbridge.models.registry import configure, family
from qpbridge.models.spec import ModelClass
from qpbridge.qupath.geojson import read_objects
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.fitting.course import Samples
from qpbridge.training.fitting.labelling import Made, PseudoLabels
from qpbridge.training.patches import LabelledSlide, Labels, Patch, PatchSet
from qpbridge.workflows.entries.gathering import OpenedSlide
from qpbridge.workflows.learning.masks import masks_folder, write_masks

CONFIG, _ = configure("weak_tissue", "small", {"patch_px": "16", "mpp": "2"})
SPEC = family("weak_tissue").spec(CONFIG, [ModelClass(name=name, color_rgb=(9, 0, 0)) for name in ("Tumor", "Stroma")])
SOURCE = cast(Any, type("Source", (), {"key": "1", "file_stem": "1-a"}))


class Told(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def opened() -> OpenedSlide:
    slide = Slide(ArraySource([np.zeros((90, 120, 3), np.uint8)]))
    labelled = LabelledSlide(key="1", slide=slide, calibration=PixelCalibration.square(1.0), shapes=())
    return OpenedSlide(source=SOURCE, slide=labelled, areas_um2={})


def test_masks_become_detections_where_their_patch_lies(opened: OpenedSlide, tmp_path: Path) -> None:
    mask = np.full((16, 16), IGNORE_INDEX, np.uint8)
    mask[:4, :8], mask[8:] = 0, 1
    patches = [Patch(slide=0, center_px=(40, 50))]
    labels = PseudoLabels(Labels([opened.slide], SPEC.views[0].fov, 2), patches, np.stack([mask, 1 - mask])[None])
    training = PatchSet(patches=patches, counts=np.array([[32, 128]]), labels=labels)
    made = Made(
        samples=Samples(training=training, validation=training, maker=cast(Any, None)), is_judged_by_people=False
    )
    told = Told()

    write_masks(tmp_path / "masks", made, [opened], SPEC, told)

    tumor, stroma = read_objects(tmp_path / "masks" / "1-a.geojson").objects
    assert tumor.kind is stroma.kind is ObjectKind.DETECTION
    assert tumor.path_class is not None
    assert tumor.path_class.name == "Tumor"
    # The patch is 32 px wide on the slide, from (24, 34) on; a pixel of the mask is two of them.
    assert shapely.equals(tumor.geometry, shapely.box(24, 34, 40, 42))
    assert shapely.equals(stroma.geometry, shapely.box(24, 50, 56, 66))
    assert [one for one in told.warnings if "2 pseudo masks of 1 patches" in one and str(tmp_path / "masks") in one]
    assert [one for one in told.warnings if "scores compare with the first stage's pseudo masks" in one]


def test_masks_lie_beside_the_bundle() -> None:
    assert masks_folder(Path("/models/skin")) == Path("/models/skin.pseudo-masks")
