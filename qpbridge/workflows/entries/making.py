"""Entries of new QuPath projects, from slide files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qpbridge.core.objects import PathObject
from qpbridge.qupath.writing import NewEntry
from qpbridge.slides.opening import open_slide
from qpbridge.slides.slide import Slide


def entry_of_file(path: Path, objects: Sequence[PathObject] = ()) -> NewEntry:
    """Return the entry of a slide under the name of its file, with the pixel size that the file tells.

    Parameters
    ----------
    path : Path
        The slide.
    objects : sequence of PathObject
        What shall lie on it, level-0 px.

    Raises
    ------
    SlideNotFoundError, DamagedSlideError, UnsupportedImageError
        If the slide cannot be read.
    """
    with open_slide(path) as slide:
        return entry_of_slide(slide, objects)


def entry_of_slide(slide: Slide, objects: Sequence[PathObject] = ()) -> NewEntry:
    """Return the entry of an open slide, as ``entry_of_file`` does.

    Parameters
    ----------
    slide : Slide
        Only looked at.
    objects : sequence of PathObject
        What shall lie on it, level-0 px.
    """
    return NewEntry(
        slide_path=slide.path,
        name=slide.path.name,
        width_px=slide.width_px,
        height_px=slide.height_px,
        downsamples=slide.downsamples,
        calibration=slide.calibration,
        objects=objects,
    )
