"""A demonstration small enough to try: 2 mm, which show all classes, at coarse pixels."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qpbridge.client import Access
from qpbridge.core.progress import Progress
from qpbridge.demo import making
from qpbridge.demo.making import DemoCase
from qpbridge.jobs.desk import SilentDesk
from qpbridge.models.bundle import load_bundle
from qpbridge.slides.synthetic import SyntheticSpec, make_slide
from qpbridge.slides.synthetic.annotations import partial_annotations
from qpbridge.workflows import worker
from qpbridge.workflows.kinds import Request, to_json
from qpbridge.workflows.requests import PredictRequest

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


class Desk(SilentDesk):
    """Passes on to a progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.report, self.warn = progress.report, progress.warn
        self.raise_if_cancelled = progress.raise_if_cancelled


class OwnClient:
    """A client whose server is this process."""

    def __init__(self, address: str = "127.0.0.1:80") -> None:
        self.access = Access(address=address)
        self.ran: list[Request] = []

    def run(self, request: Request, progress: Progress) -> dict[str, Any]:
        self.ran.append(request)
        kind = "predict" if isinstance(request, PredictRequest) else "train"
        return worker.run(kind, to_json(request), Desk(progress))

    def model(self, name: str) -> dict[str, Any]:
        classes = load_bundle(Path(name)).spec.classes
        return {"classes": [{"name": one.name, "color_rgb": list(one.color_rgb)} for one in classes]}


@pytest.fixture
def client() -> OwnClient:
    return OwnClient()


@pytest.fixture(scope="session")
def make_client() -> Callable[..., OwnClient]:
    return OwnClient
