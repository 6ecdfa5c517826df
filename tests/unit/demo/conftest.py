"""A demonstration small enough to try: 2 mm, which show all classes, at coarse pixels."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from qpbridge.demo import making
from qpbridge.demo.making import DemoCase
from qpbridge.slides.synthetic import SyntheticSpec, make_slide
from qpbridge.slides.synthetic.annotations import partial_annotations

EDGE_PX = 1024
MPP = 2.0


@pytest.fixture(scope="module")
def small_slides() -> Iterator[None]:
    """Let the demonstration make small slides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "EDGE_PX", EDGE_PX)
        patch.setattr(making, "SyntheticSpec", partial(SyntheticSpec, mpp=MPP))
        yield


@pytest.fixture(scope="session")
def case_of() -> Callable[..., DemoCase]:
    """Make a case in memory."""

    def make(width_px: int = EDGE_PX, height_px: int = EDGE_PX, *, has_context_class: bool = True) -> DemoCase:
        spec = SyntheticSpec(width_px=width_px, height_px=height_px, mpp=MPP, has_context_class=has_context_class)
        slide = make_slide(spec)
        return DemoCase(slide=slide, annotations=partial_annotations(slide, share=0.1))

    return make
