"""Nuclei of a slide that a scripted network finds: whole, once, and wherever the tiles lie."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from skimage.draw import ellipse
from torch import Tensor, nn

from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region, View
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError
from qpbridge.inference.device import Runtime
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.interest import Interest
from qpbridge.inference.nuclei.decoding import Decoding
from qpbridge.inference.nuclei.harvesting import Harvesting
from qpbridge.inference.nuclei.predicting import Finding, Found, predict_nuclei
from qpbridge.inference.predicting import Scene
from qpbridge.models.spec import ModelClass
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide

MPP = 0.5
CALIBRATION = PixelCalibration.square(MPP)
WIDTH, HEIGHT = 420, 300
WHOLE = Region(x_px=0, y_px=0, width_px=WIDTH, height_px=HEIGHT)
CLASSES = (
    ModelClass(name="Nucleus", color_rgb=(0, 0, 0)),
    ModelClass(name="(unlabelled)", color_rgb=(0, 0, 0), is_written=False),
)


class Dark(nn.Module):
    """Finds a nucleus in dark pixels, and its marker in black ones."""

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        dark = 1 - views["x1"].mean(dim=1, keepdim=True)
        return {"mask": (dark > 0.5).float(), "marker": (dark > 0.9).float()}


def nuclei_at(centers: Sequence[tuple[int, int]]) -> Slide:
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for y, x in centers:
        pixels[ellipse(y, x, 9, 12, shape=(HEIGHT, WIDTH))] = 80
    for y, x in centers:
        pixels[ellipse(y, x, 5, 7, shape=(HEIGHT, WIDTH))] = 0
    return Slide(ArraySource([pixels]))


def engine_of(edge: int) -> Engine:
    view = View(name="x1", fov=FieldOfView(size_px=edge, mpp=MPP))
    segmenter = Segmenter(
        network=Dark(),
        views=(view,),
        classes=CLASSES,
        probabilities=lambda outputs: torch.cat([outputs["mask"], outputs["marker"]], dim=1),
    )
    return Engine(segmenter, Runtime(device=torch.device("cpu")), SilentProgress())


def found_in(slide: Slide, edge: int = 64, interest: Interest | None = None, workers: int = 0) -> Found:
    scene = Scene(slide=slide, calibration=CALIBRATION, region=WHOLE, interest=interest)
    harvesting = Harvesting(decoding=Decoding(max_extent_um=20, reach_um=5), mpp=MPP)
    finding = Finding(layers={"mask": 1, "marker": 1}, harvesting=harvesting, workers=workers, margin_px=8)
    return predict_nuclei(engine_of(edge), scene, finding, SilentProgress())


GRID = [(y, x) for y in range(20, HEIGHT - 15, 31) for x in range(20, WIDTH - 15, 22)]


@pytest.mark.parametrize("edge", [64, 96, 256])
def test_every_nucleus_is_found_once_and_whole_wherever_tiles_meet(edge: int) -> None:
    nuclei = found_in(nuclei_at(GRID), edge).nuclei

    found = sorted((round(y - 0.5), round(x - 0.5)) for x, y in nuclei.centroids)
    assert found == sorted(GRID)
    areas = np.array([polygon.area for polygon in nuclei.outlines])
    assert areas.std() / areas.mean() < 0.1
    assert (nuclei.stains[:, 0, 0] > 0).all()


def test_the_result_does_not_depend_on_the_tiles() -> None:
    slide = nuclei_at(GRID)

    first, other = (found_in(slide, edge).nuclei for edge in (64, 128))

    order, same = (np.lexsort(nuclei.centroids.T) for nuclei in (first, other))
    np.testing.assert_array_equal(first.centroids[order], other.centroids[same])
    assert all(a.equals(b) for a, b in zip(first.outlines[order], other.outlines[same], strict=True))


def test_worker_processes_find_the_same() -> None:
    slide = nuclei_at(GRID[:30])

    alone, together = found_in(slide), found_in(slide, workers=1)

    np.testing.assert_array_equal(alone.nuclei.centroids, together.nuclei.centroids)


def test_inside_areas_of_interest_nuclei_lie_where_they_do_on_the_whole_slide() -> None:
    slide = nuclei_at(GRID)
    from shapely import box

    interest = Interest.of([box(100, 90, 260, 200)], WHOLE)

    found = found_in(slide, interest=interest)

    placement = found.placement(WHOLE, CALIBRATION)
    centers = found.nuclei.centroids * placement.scale + placement.origin_px
    inside = {(round(y - 0.5), round(x - 0.5)) for x, y in centers if 112 < x < 248 and 100 < y < 190}
    assert inside == {(y, x) for y, x in GRID if 112 < x < 248 and 100 < y < 190}


def test_cancelling_ends_it() -> None:
    class Stopped(SilentProgress):
        def raise_if_cancelled(self) -> None:
            raise CancelledError("stopped")

    scene = Scene(slide=nuclei_at(GRID), calibration=CALIBRATION, region=WHOLE)
    finding = Finding(layers={"mask": 1, "marker": 1}, harvesting=Harvesting(decoding=Decoding(), mpp=MPP))

    with pytest.raises(CancelledError):
        predict_nuclei(engine_of(64), scene, finding, Stopped())
