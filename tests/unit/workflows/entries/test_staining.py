import numpy as np
import pytest

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import SilentProgress
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.slides.stains.staining import Staining
from qpbridge.workflows.entries.staining import stained_as, staining_of

MPP = PixelCalibration.square(1.0)


def slide_of(level: int) -> Slide:
    noise = np.random.default_rng(0).integers(-20, 21, (300, 300, 3))
    return Slide(ArraySource([np.clip(np.array([level + 40, level, level + 30]) + noise, 0, 255).astype(np.uint8)]))


def test_a_slide_is_shown_in_the_stains_of_another() -> None:
    progress, pale, dark = SilentProgress(), slide_of(180), slide_of(120)
    target = staining_of(dark, MPP, "reinhard", "dark", progress)

    shown = stained_as(target, pale, MPP, "pale", progress)

    means = [slide.read(slide.region, 300, 300).mean() for slide in (pale, dark, shown)]
    assert means[2] == pytest.approx(means[1], abs=2)
    assert means[0] > means[1] + 50
    assert (shown.width_px, shown.fingerprint) == (300, pale.fingerprint)
    assert progress.warnings == []


def test_without_a_target_a_slide_stays_as_it_is() -> None:
    slide = slide_of(150)

    assert stained_as(None, slide, MPP, "a", SilentProgress()) is slide


def test_a_slide_without_tissue_stays_as_it_is_and_that_is_told() -> None:
    progress, blank = SilentProgress(), Slide(ArraySource([np.full((300, 300, 3), 250, np.uint8)]))
    target = Staining(method="macenko", rows=((0.6, 0.7, 0.3), (0.2, 0.8, 0.5), (1.0, 1.0)))

    assert stained_as(target, blank, MPP, "slide 'blank'", progress) is blank
    (warning,) = progress.warnings
    assert "slide 'blank'" in warning
    assert "pixels of tissue" in warning
