import numpy as np
import pytest

from qpbridge.slides.synthetic.window import TILE_PX, Window


@pytest.mark.parametrize("mpp", [0.1, 0.23, 0.5, 1.0, 3.9])
def test_a_linear_field_on_nodes_is_exact_at_the_pixels(mpp: float) -> None:
    window = Window(column=3, row=5, mpp=mpp)
    x_um, y_um = window.node_axes()
    field = window.upsampled(x_um - 2 * y_um)
    assert field.shape == (window.size_px, window.size_px)
    left, top = window.origin_px
    columns, rows = np.meshgrid(np.arange(window.size_px), np.arange(window.size_px))
    expected = ((left + columns + 0.5) - 2 * (top + rows + 0.5)) * mpp
    np.testing.assert_allclose(field, expected, atol=2e-3 * max(1, mpp))


@pytest.mark.parametrize("mpp", [0.1, 0.5, 2.0])
def test_the_core_is_the_tile(mpp: float) -> None:
    window = Window(column=2, row=1, mpp=mpp)
    rows, columns = window.core
    assert window.origin_px[0] + columns.start == 2 * TILE_PX
    assert window.origin_px[1] + rows.start == TILE_PX
    assert rows.stop - rows.start == columns.stop - columns.start == TILE_PX
    assert window.rim_px % window.step_px == 0
    assert window.size_px % window.step_px == 0
