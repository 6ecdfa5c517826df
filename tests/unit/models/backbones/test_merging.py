import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qpbridge.models.backbones.merging import ContextGate, ReducingMerge, in_frame

ratios = st.sampled_from([2, 4, 8, 16])
edges = st.integers(1, 20).map(lambda half: 2 * half)


def _places(rows: int, columns: int, ratio: int) -> Tensor:
    """Where each cell's center lies, (1, 2, rows, columns): cells of the finest map from the common center."""
    y, x = ((torch.arange(edge, dtype=torch.float64) + 0.5 - edge / 2) * ratio for edge in (rows, columns))
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]


@given(ratio=ratios, rows=edges, columns=edges)
def test_the_exact_rule_puts_every_cell_of_the_context_at_its_place(ratio: int, rows: int, columns: int) -> None:
    found = in_frame(_places(rows, columns, ratio), ratio, (rows, columns))

    torch.testing.assert_close(found, _places(rows, columns, 1))


@given(ratio=ratios, rows=edges, columns=edges)
def test_the_published_rule_does_so_but_for_the_rim(ratio: int, rows: int, columns: int) -> None:
    found = in_frame(_places(rows, columns, ratio), ratio, (rows, columns), "published")

    # An edge that is no multiple of twice the ratio leaves rows out, and places half a context cell elsewhere.
    if all(edge % (2 * ratio) == 0 for edge in (rows, columns)):
        error = (found - _places(rows, columns, 1)).abs()
        assert error.max() == (ratio - 1) / 2
        inside = error[..., ratio // 2 : rows - ratio // 2, ratio // 2 : columns - ratio // 2]
        assert inside.numel() == 0 or inside.max() < 1e-9


@pytest.mark.parametrize("ratio", [2, 4, 16])
def test_both_rules_agree_where_one_context_cell_covers_the_frame(ratio: int) -> None:
    context = torch.rand(1, 3, ratio, ratio)

    assert torch.equal(in_frame(context, ratio, (ratio, ratio)), in_frame(context, ratio, (ratio, ratio), "published"))


def test_the_published_errors_at_the_rim_are_as_large_as_measured() -> None:
    for ratio, expected in ((4, 1.5), (16, 7.5)):
        found = in_frame(_places(256, 256, ratio), ratio, (256, 256), "published")
        assert (found - _places(256, 256, 1)).abs().max() == expected


def test_plain_resizing_squeezes_all_of_the_context_into_the_frame() -> None:
    found = in_frame(_places(8, 8, 4), 4, (8, 8), "resized")

    torch.testing.assert_close(found, 4 * _places(8, 8, 1))


def test_context_of_another_size_is_cropped_around_the_common_center() -> None:
    torch.testing.assert_close(in_frame(_places(18, 14, 4), 4, (16, 8)), _places(16, 8, 1))


@torch.no_grad()
def test_a_reducing_merge_starts_as_the_own_map() -> None:
    torch.manual_seed(0)
    merge = ReducingMerge(4, 3)
    merge.start_as_identity()
    own, *guests = torch.rand(3, 2, 4, 6, 6)

    assert (merge([own, *guests]) - own).abs().max() < 0.01
    assert 0 < (merge.convolution.weight[:, 4:]).abs().max() < 0.001


@torch.no_grad()
def test_the_gate_scales_each_class_by_its_presence_and_lets_the_logits_pass_too() -> None:
    gate = ContextGate(3)
    gate.start_open()
    logits, presence = torch.randn(2, 3, 4, 4), torch.tensor([[100.0, -100.0, 0.0], [0.0, 100.0, -100.0]])

    expected = logits * torch.tensor([[1, 0.5, 0.75], [0.75, 1, 0.5]])[:, :, None, None]
    torch.testing.assert_close(gate(logits, presence), expected)
