"""The procedural slide maker: H&E-like pixels of any block of a slide of any size, with exact truth."""

from qpbridge.slides.synthetic.slide import (
    CLASSES,
    NUCLEUS_CLASSES,
    InstanceMap,
    SyntheticSlide,
    SyntheticSpec,
    make_slide,
    write_slide,
)

__all__ = ["CLASSES", "NUCLEUS_CLASSES", "InstanceMap", "SyntheticSlide", "SyntheticSpec", "make_slide", "write_slide"]
