from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import InvalidValueError
from qpbridge.models.families.dmmn import DMMN
from qpbridge.models.recipe import Recipe
from qpbridge.models.spec import ModelClass
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.slides.stains.staining import Staining
from qpbridge.training.patches import LabelledSlide, Labels, Patch, PatchSet
from qpbridge.workflows.entries.gathering import OpenedSlide
from qpbridge.workflows.learning.material import Material, Plan
from qpbridge.workflows.learning.staining import normalized

SPEC = DMMN.spec(DMMN.config_type(), [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in "ab"])
GLASS = 250


def material_of(levels: Sequence[int], learnt: Sequence[int]) -> Material:
    """Slides of some gray levels, of which some are learnt from."""
    opened = []
    for level in levels:
        noise = np.random.default_rng(level).integers(-4, 5, (300, 300, 3)) * (level != GLASS)
        pixels = (np.array([level, level - 40, level]) if level != GLASS else np.array([GLASS] * 3)) + noise
        slide = Slide(ArraySource([pixels.astype(np.uint8)]))
        source: Any = SimpleNamespace(label=f"slide {level}")
        labelled = LabelledSlide(key="", slide=slide, calibration=PixelCalibration.square(1.0), shapes=())
        opened.append(OpenedSlide(source=source, slide=labelled, areas_um2={}))
    labels = Labels([one.slide for one in opened], SPEC.views[0].fov, 2)
    patches = [Patch(slide=i, center_px=(9.0, 9.0)) for i in learnt]
    sets = PatchSet(patches=patches, counts=np.ones((len(patches), 2), np.int64), labels=labels)
    return Material(opened=opened, spec=SPEC, training=sets, validation=sets)


def plan_of(method: Any) -> Plan:
    request: Any = None
    return Plan(request=request, family=DMMN, config=SPEC.config, recipe=replace(Recipe(), stain_normalization=method))


def means_of(material: Material) -> list[float]:
    return [float(one.slide.slide.read(one.slide.slide.region, 300, 300).mean()) for one in material.opened]


def test_without_a_method_nothing_changes() -> None:
    material = material_of([100], [0])

    assert normalized(material, plan_of("none"), None, SilentProgress()) is material


def test_all_slides_look_like_the_most_typical_one_learnt_from() -> None:
    material, progress = material_of([200, 150, 140, 60], learnt=[0, 1, 2]), SilentProgress()
    before = means_of(material)

    found = normalized(material, plan_of("reinhard"), None, progress)

    assert means_of(found) == pytest.approx([before[1]] * 4, abs=2)
    assert found.spec.staining is not None
    assert progress.warnings == []


def test_a_slide_without_tissue_is_told_and_stays() -> None:
    progress = SilentProgress()

    found = normalized(material_of([150, GLASS], learnt=[0, 1]), plan_of("reinhard"), None, progress)

    assert means_of(found)[1] == GLASS
    (warning,) = progress.warnings
    assert "slide 250" in warning
    with pytest.raises(InvalidValueError, match="stain_normalization"):
        normalized(material_of([GLASS], learnt=[0]), plan_of("reinhard"), None, progress)


@pytest.mark.parametrize("method", ["reinhard", "macenko"])
def test_going_on_from_a_model_keeps_its_staining_where_the_method_is_the_same(method: Any) -> None:
    kept = Staining(method=method, rows=((90.0, 120.0, 125.0), (5.0, 5.0, 5.0)))
    base: Any = SimpleNamespace(spec=replace(SPEC, staining=kept))

    found = normalized(material_of([150], learnt=[0]), plan_of("reinhard"), base, SilentProgress())

    assert (found.spec.staining == kept) == (method == "reinhard")
