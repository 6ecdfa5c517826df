import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.inference.nuclei.blocks import Block, RollingMosaic


def _blocks(whole: np.ndarray, step: int, edge: int, margin: int) -> list[Block]:
    """All blocks of a mosaic that comes in tiles of some size."""
    channels, height, width = whole.shape
    rolling = RollingMosaic(width, height, {"mask": channels}, edge, margin)
    blocks = []
    for y in range(0, height, step):
        for x in range(0, width, step):
            # As tiles do, those at the right and lower rim reach beyond.
            tile = np.full((channels, step, step), 9, np.uint8)
            part = whole[:, y : y + step, x : x + step]
            tile[:, : part.shape[1], : part.shape[2]] = part
            rolling.paint(x, y, {"mask": tile})
        blocks += rolling.take(min(y + step, height))
    return blocks


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), step=st.integers(1, 17), edge=st.integers(1, 20),
    margin=st.integers(0, 12),
)  # fmt: skip
def test_cores_cover_the_mosaic_once_and_see_what_lies_around(
    height: int, width: int, step: int, edge: int, margin: int
) -> None:
    whole = np.random.default_rng(0).integers(0, 255, (2, height, width), np.uint8)
    seen = np.zeros((height, width), int)

    for block in _blocks(whole, step, edge, margin):
        seen[block.y : block.y + block.height, block.x : block.x + block.width] += 1
        top, left = max(0, block.y - margin), max(0, block.x - margin)
        bottom, right = block.y + block.height + margin, block.x + block.width + margin
        assert (block.top, block.left) == (top, left)
        assert (block.layers["mask"] == whole[:, top:bottom, left:right]).all()

    assert (seen == 1).all()


def test_a_block_comes_as_soon_as_its_margin_is_known() -> None:
    rolling = RollingMosaic(10, 30, {"mask": 1}, edge=10, margin=4)

    assert list(rolling.take(13)) == []
    assert [block.y for block in rolling.take(14)] == [0]
    assert list(rolling.take(23)) == []
    assert [block.y for block in rolling.take(30)] == [10, 20]
    assert list(rolling.take(30)) == []


def test_rows_that_no_block_needs_are_forgotten() -> None:
    rolling = RollingMosaic(8, 10_000, {"mask": 1, "pixels": 3}, edge=16, margin=4)
    most = 0
    for y in range(0, 10_000, 8):
        rolling.paint(0, y, {"mask": np.ones((1, 8, 8), np.uint8), "pixels": np.ones((3, 8, 8), np.uint8)})
        assert all((block.layers["pixels"] == 1).all() for block in rolling.take(y + 8))
        most = max(most, rolling._rows["pixels"].shape[1])

    assert most <= 3 * 16


@pytest.mark.parametrize("known", [0, 12])
def test_what_nothing_is_painted_on_is_nothing(known: int) -> None:
    blocks = list(RollingMosaic(5, 12, {"mask": 1}, edge=16, margin=4).take(known))

    assert len(blocks) == (known > 0)
    assert all(not block.layers["mask"].any() and block.layers["mask"].shape == (1, 12, 5) for block in blocks)
