import cv2
import numpy as np
import pytest

from qpbridge.slides.synthetic import CLASSES, SyntheticSpec, make_slide
from qpbridge.slides.synthetic.layout import Layout, Tissue
from qpbridge.slides.synthetic.window import Window


@pytest.mark.parametrize("seed", range(8))
def test_two_millimeters_show_every_class(seed: int) -> None:
    slide = make_slide(SyntheticSpec(width_px=1024, height_px=1024, mpp=2.0, seed=seed))
    labels = slide.labels(slide.bounds, 512, 512)
    shares = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    assert shares.min() > 0.002
    assert shares.sum() == pytest.approx(1)


@pytest.fixture(scope="module")
def wide_labels() -> np.ndarray:
    slide = make_slide(SyntheticSpec(width_px=1400, height_px=1400, mpp=4.0, seed=2))
    return slide.labels(slide.bounds, 1400, 1400)


def test_only_stroma_lies_within_128_um_of_a_nest(wide_labels: np.ndarray) -> None:
    others = ~np.isin(wide_labels, [Tissue.TUMOR, Tissue.BENIGN, Tissue.STROMA])
    distance_um = 4 * cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    nests = np.isin(wide_labels, [Tissue.TUMOR, Tissue.BENIGN])
    assert distance_um[nests].min() >= 124  # half the diagonal of a pixel of 4 µm less at both ends


def test_fat_beyond_the_ring_tells_benign_nests_from_tumor(wide_labels: np.ndarray) -> None:
    is_fat = (wide_labels == Tissue.ADIPOSE).astype(np.float32)
    shares: dict[int, list[float]] = {Tissue.TUMOR: [], Tissue.BENIGN: []}
    for tissue, found in shares.items():
        outside = (wide_labels != tissue).astype(np.uint8)
        distance, nearest = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, cv2.DIST_MASK_5)
        # A ragged border leaves islands of a few pixels, which are no nests.
        parts, sizes = np.unique(nearest[outside == 0], return_counts=True)
        is_whole = dict(zip(parts, sizes > 100, strict=True))
        around = (4 * distance > 130) & (4 * distance < 250)
        found += [float(is_fat[around & (nearest == part)].mean()) for part in parts if is_whole[part]]
    assert len(shares[Tissue.TUMOR]) > 4
    assert len(shares[Tissue.BENIGN]) > 4
    assert min(shares[Tissue.BENIGN]) > max(shares[Tissue.TUMOR]) + 0.1


def test_the_distance_to_nests_agrees_with_their_labels() -> None:
    layout = Layout(2000.0, 2000.0, seed=1, has_context_class=True)
    for column, row in ((0, 0), (1, 1), (1, 0)):
        fields = layout.fields(Window(column=column, row=row, mpp=2.0))
        in_nest = np.isin(fields.labels, [Tissue.TUMOR, Tissue.BENIGN, Tissue.NECROSIS])
        np.testing.assert_array_equal(in_nest, fields.nest_um > 0)
        np.testing.assert_array_equal(fields.labels == Tissue.BACKGROUND, fields.depth_um <= 0)


def test_points_lie_in_fat_where_the_labels_say_so() -> None:
    layout = Layout(2000.0, 2000.0, seed=1, has_context_class=True)
    window = Window(column=1, row=1, mpp=2.0)
    labels = layout.fields(window).labels
    rows, columns = np.random.default_rng(3).integers(window.rim_px, window.size_px - window.rim_px, (2, 400))
    inside = ~np.isin(labels[rows, columns], [Tissue.BACKGROUND])
    places = ((c[inside] + window.origin_px[0] + 0.5) * 2.0 for c in (columns, rows))
    is_fat = layout.is_fat(*places)
    assert 0.1 < is_fat.mean() < 0.9
    assert (is_fat == (labels[rows, columns][inside] == Tissue.ADIPOSE)).mean() > 0.97


def test_fibers_run_where_the_coordinate_across_them_does_not_change() -> None:
    layout = Layout(2000.0, 2000.0, seed=1, has_context_class=True)
    x, y = np.random.default_rng(0).uniform(300, 1700, (2, 50))
    angle = layout.fiber_angle(x, y)
    _, here = layout.fiber_um(x, y)
    _, ahead = layout.fiber_um(x + 0.5 * np.cos(angle), y + 0.5 * np.sin(angle))
    _, beside = layout.fiber_um(x - 0.5 * np.sin(angle), y + 0.5 * np.cos(angle))
    assert np.median(np.abs(ahead - here)) < 0.1 * np.median(np.abs(beside - here))
