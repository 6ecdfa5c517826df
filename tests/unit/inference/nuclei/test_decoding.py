import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tissue import MPP, Tissue, tissue
from skimage.measure import label
from skimage.segmentation import watershed

from qpbridge.core.arrays import InstanceMap
from qpbridge.errors import InvalidValueError
from qpbridge.evaluation.instances import score_instances
from qpbridge.inference.nuclei.decoding import PUBLISHED, Decoding, decode

STRICT = Decoding(min_area_um2=2.0)
SMALL = Decoding(min_area_um2=2.0, min_marker_area_um2=0.5, max_hole_area_um2=2.0, reach_um=4.0, max_extent_um=14.0)


def _as_bytes(mask: np.ndarray) -> np.ndarray:
    return (mask * 255).astype(np.uint8)


def test_growth_within_the_mask_gives_true_nuclei_back(crowd: Tissue) -> None:
    scores = score_instances(crowd.truth, decode(crowd.mask, crowd.marker, STRICT, MPP))

    assert scores.aji > 0.95
    assert scores.panoptic_quality > 0.95


def test_the_published_growth_makes_unshrunk_nuclei_too_large(crowd: Tissue) -> None:
    free = score_instances(crowd.truth, decode(crowd.mask, crowd.marker, PUBLISHED, MPP))
    strict = score_instances(crowd.truth, decode(crowd.mask, crowd.marker, STRICT, MPP))

    assert 0.6 < free.aji < strict.aji
    assert free.predicted_px > free.true_px


def test_markers_part_what_the_mask_alone_does_not(crowd: Tissue) -> None:
    blind = np.zeros_like(crowd.marker)

    with_markers, eroded, without = (
        score_instances(crowd.truth, decode(crowd.mask, marker, STRICT, MPP)).aji
        for marker in (crowd.marker, None, blind)
    )

    assert with_markers > eroded > without


def _published_by_scikit_image(mask: np.ndarray, marker: np.ndarray) -> InstanceMap:
    seeds = label(marker, connectivity=2)
    basins = watershed(seeds == 0, seeds, connectivity=2, watershed_line=True)
    cut = label(mask & (basins > 0), connectivity=2)
    grown = np.pad(cut, 1)
    shifts = (grown[1:-1, 1:-1], grown[:-2, 1:-1], grown[2:, 1:-1], grown[1:-1, :-2], grown[1:-1, 2:])
    return np.max(shifts, axis=0).astype(np.int32)


def test_the_published_decoding_is_that_of_scikit_image_s_watershed(crowd: Tissue) -> None:
    decoding = Decoding(grow="free", min_area_um2=0, min_marker_area_um2=0, max_hole_area_um2=0)
    expected = _published_by_scikit_image(crowd.mask > 127, crowd.marker > 127)

    scores = score_instances(expected, decode(crowd.mask, crowd.marker, decoding, MPP))

    # Lines may lie a pixel further to one side.
    assert scores.aji > 0.95
    assert scores.predicted_objects == pytest.approx(scores.true_objects, rel=0.03)


@pytest.mark.parametrize("grow", ["within_mask", "free"])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 100), top=st.integers(0, 60), left=st.integers(0, 80))
def test_a_nucleus_does_not_depend_on_what_lies_beyond_the_margin(grow: str, seed: int, top: int, left: int) -> None:
    """Nuclei whose centroid is in the middle of a window are the same in the window and in the whole."""
    some, decoding = tissue(seed), Decoding(**{**_fields(SMALL), "grow": grow})
    margin, edge = decoding.margin_px(MPP), 24
    top, left = min(top, 160 - edge), min(left, 200 - edge)
    y, x = max(0, top - margin), max(0, left - margin)
    window = np.s_[y : top + edge + margin, x : left + edge + margin]

    whole = decode(some.mask, some.marker, decoding, MPP)
    part = np.zeros_like(whole)
    part[window] = decode(some.mask[window], some.marker[window], decoding, MPP)

    assert _owned(whole, top, left, edge) == _owned(part, top, left, edge)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 100), top=st.integers(0, 60), left=st.integers(0, 80))
def test_nor_does_it_where_markers_fall_apart(seed: int, top: int, left: int) -> None:
    """Long markers that are less sure here and there, some of which reach out of the window."""
    some, decoding = tissue(seed), Decoding(**{**_fields(SMALL), "max_extent_um": 8.0, "min_split_area_um2": 0.5})
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(some.mask.shape), (0, 0), 2)
    marker = np.where(some.truth > 0, np.clip(170 + 900 * (noise - 0.5), 0, 255), 10).astype(np.uint8)
    margin, edge = decoding.margin_px(MPP), 24
    top, left = min(top, 160 - edge), min(left, 200 - edge)
    y, x = max(0, top - margin), max(0, left - margin)
    window = np.s_[y : top + edge + margin, x : left + edge + margin]

    whole = decode(some.mask, marker, decoding, MPP)
    part = np.zeros_like(whole)
    part[window] = decode(some.mask[window], marker[window], decoding, MPP)

    assert _owned(whole, top, left, edge) == _owned(part, top, left, edge)


def test_two_nuclei_are_told_apart_where_the_network_is_less_sure_in_between() -> None:
    marker = np.full((40, 60), 10, np.uint8)
    marker[10:30, 10:50] = 220
    marker[10:30, 28:32] = 140
    mask = _as_bytes(marker > 100)

    assert len(np.unique(decode(mask, marker, STRICT, MPP))) == 3
    marker[10:30, 28:32] = 200
    assert len(np.unique(decode(mask, marker, Decoding(split_thresholds=(0.6, 0.7)), MPP))) == 2
    assert len(np.unique(decode(mask, marker, Decoding(split_thresholds=(0.8,)), MPP))) == 3


def test_a_crumb_of_a_marker_makes_no_second_nucleus() -> None:
    marker = np.full((40, 60), 10, np.uint8)
    marker[10:30, 10:50] = 140
    marker[12:28, 12:30] = marker[20, 45] = 220

    assert len(np.unique(decode(_as_bytes(marker > 100), marker, STRICT, MPP))) == 2


def _fields(decoding: Decoding) -> dict[str, object]:
    return {name: getattr(decoding, name) for name in Decoding.__dataclass_fields__}


def _owned(instances: InstanceMap, top: int, left: int, edge: int) -> set[bytes]:
    owned = set()
    for number in np.unique(instances[instances > 0]):
        places = np.argwhere(instances == number)
        if ((places.mean(axis=0) >= (top, left)) & (places.mean(axis=0) < (top + edge, left + edge))).all():
            owned.add(places.tobytes())
    return owned


def test_small_and_overlong_things_are_no_nuclei() -> None:
    mask = np.zeros((80, 200), np.bool_)
    mask[10:13, 10:13] = mask[30:60, 10:40] = mask[70:78, 20:180] = True

    found = decode(_as_bytes(mask), _as_bytes(mask), Decoding(), MPP)

    assert (found > 0).sum() == 900
    assert found[45, 20] > 0


def test_a_piece_without_a_marker_is_a_nucleus_too() -> None:
    mask = np.zeros((40, 80), np.bool_)
    mask[10:30, 10:30] = mask[10:30, 50:70] = True
    marker = np.zeros_like(mask)
    marker[15:25, 15:25] = True

    assert len(np.unique(decode(_as_bytes(mask), _as_bytes(marker), Decoding(), MPP))) == 3


def test_markers_outside_the_mask_make_no_nuclei() -> None:
    marker = np.zeros((40, 40), np.bool_)
    marker[10:30, 10:30] = True

    assert not decode(np.zeros((40, 40), np.uint8), _as_bytes(marker), Decoding(), MPP).any()


def test_holes_are_filled_and_every_nucleus_is_one_piece(crowd: Tissue) -> None:
    noisy = tissue(3)

    found = decode(noisy.mask, noisy.marker, STRICT, MPP)

    assert (found > 0).sum() > 0.8 * (noisy.truth > 0).sum()
    for number in np.unique(found[found > 0]):
        assert label(found == number, connectivity=1).max() == 1
        assert (label(np.pad(found != number, 1, constant_values=True), connectivity=1) < 2).mean() > 0.99


def test_sizes_are_physical() -> None:
    mask = np.zeros((40, 40), np.bool_)
    mask[10:16, 10:16] = True  # 36 px: 9 µm² at 0.5 µm/px, 2.25 at 0.25

    assert decode(_as_bytes(mask), _as_bytes(mask), Decoding(), 0.5).any()
    assert not decode(_as_bytes(mask), _as_bytes(mask), Decoding(), 0.25).any()


def test_settings_check_themselves() -> None:
    with pytest.raises(InvalidValueError, match="mask_threshold"):
        Decoding(mask_threshold=1.5)
    with pytest.raises(InvalidValueError, match="grow=watershed"):
        Decoding(grow="watershed")  # type: ignore[arg-type]
