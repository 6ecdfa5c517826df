"""Slides shown to a model as if they had been stained as those that it learnt from."""

from __future__ import annotations

from qpbridge.core.geometry import PixelCalibration
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidValueError
from qpbridge.slides.slide import Slide
from qpbridge.slides.stains.normalizing import measured, normalizer
from qpbridge.slides.stains.sampling import tissue_sample
from qpbridge.slides.stains.staining import Method, Staining


def staining_of(
    slide: Slide, calibration: PixelCalibration, method: Method, label: str, progress: Progress
) -> Staining | None:
    """Return how a slide is stained, and None, with a warning, where that cannot be told.

    Parameters
    ----------
    slide : Slide
        As it was scanned.
    calibration : PixelCalibration
        Of the slide.
    method : {"macenko", "reinhard", "vahadane"}
        In whose terms.
    label : str
        How the warning calls the slide.
    progress : Progress
        Hears the warning.
    """
    try:
        return measured(tissue_sample(slide, calibration), method)
    except InvalidValueError as error:
        progress.warn(f"{label} is shown to the model as it is, its stains are not normalized: {error}")
        return None


def stained_as(
    target: Staining | None, slide: Slide, calibration: PixelCalibration, label: str, progress: Progress
) -> Slide:
    """Return a slide as if stained like the target; as it is where there is no target or its stains cannot be told.

    Parameters as for ``staining_of``.
    """
    if target is None:
        return slide
    own = staining_of(slide, calibration, target.method, label, progress)
    return slide if own is None else slide.changed(normalizer(own, target))
