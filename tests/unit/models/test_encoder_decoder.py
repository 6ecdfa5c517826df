from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qpbridge.models.encoder_decoder import REACHES_PX, Decoder, Encoder, centers

WIDTHS = (2, 3, 3, 4, 4)
DEEPEST = 1 << (len(WIDTHS) - 1)
edges = st.integers(4, 16).map(lambda cells: cells * DEEPEST)


def pair(norm: str, seed: int = 0) -> tuple[Encoder, Decoder]:
    """In double precision, so that only rounding tells equal ways apart; no weight is below 0, so none is dead."""
    torch.manual_seed(seed)
    encoder, decoder = Encoder(3, WIDTHS, norm).double(), Decoder(WIDTHS, norm).double()
    for weights in (*encoder.parameters(), *decoder.parameters()):
        weights.data.abs_()
    encoder(torch.rand(4, 3, 64, 64, dtype=torch.float64))
    decoder(encoder(torch.rand(4, 3, 64, 64, dtype=torch.float64)))  # both move the running statistics
    return encoder.eval(), decoder.eval()


def image(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((1, 3, rows, columns)))


def whole_cells(length: int, level: int, halvings: int) -> slice:
    """The cells of a level that the center of the finest one lies on."""
    left_out = (length - (length >> halvings)) / 2
    return slice(int(left_out // (1 << level)), int(-(-(length - left_out) // (1 << level))))


def cropped(maps: Sequence[Tensor], halvings: int) -> list[Tensor]:
    rows, columns = maps[0].shape[-2:]
    return [
        level[..., whole_cells(rows, i, halvings), whole_cells(columns, i, halvings)] for i, level in enumerate(maps)
    ]


def assert_equal(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_each_level_of_the_encoder_has_its_width_and_half_the_edge() -> None:
    encoder, _ = pair("batch")

    maps = encoder(image(64, 96))

    assert [tuple(level.shape) for level in maps] == [(1, width, 64 >> i, 96 >> i) for i, width in enumerate(WIDTHS)]
    pooled = torch.nn.functional.max_pool2d(maps[2], 2)
    assert torch.equal(maps[3], encoder.blocks[3](pooled))


@torch.no_grad()
def test_the_decoder_joins_guests_then_doubles_then_joins_the_encoder_s_map() -> None:
    encoder, _ = pair("none")
    decoder = Decoder(WIDTHS, "none", guests=[9, 1, 0, 2, 3]).double()
    encoded = encoder(image(64, 96))
    guests = [
        [torch.rand(1, width, 64 >> i, 96 >> i, dtype=torch.float64) for width in widths]
        for i, widths in enumerate([[], [1], [], [1, 1], [1, 2]])
    ]

    found = decoder(encoded, guests)

    decoded = encoded[4]
    expected = [decoded]
    for i in (3, 2, 1, 0):
        doubled = decoder.ups[i](torch.cat([decoded, *guests[i + 1]], dim=1))
        decoded = decoder.blocks[i](torch.cat([encoded[i], doubled], dim=1))
        expected.insert(0, decoded)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


@given(rows=edges, columns=edges, halvings=st.integers(1, 2), norm=st.sampled_from(["none", "batch"]))
@settings(deadline=None, max_examples=25)
@torch.no_grad()
def test_the_center_decoded_alone_is_the_center_of_all_that_is_decoded(
    rows: int, columns: int, halvings: int, norm: str
) -> None:
    encoder, decoder = pair(norm)
    encoded = encoder(image(rows, columns))

    found = decoder(encoded, halvings=halvings)

    assert found[0].shape[-2:] == (rows >> halvings, columns >> halvings)
    assert_equal(found, cropped(decoder(encoded), halvings))


@pytest.mark.parametrize("halvings", [1, 2])
def test_margins_are_as_wide_as_gradients_reach_and_no_wider(halvings: int) -> None:
    encoder, decoder = pair("none")
    encoded = [level.detach().requires_grad_() for level in encoder(image(256, 256))]
    maps = [encoded[-1]]
    for block in decoder.blocks:
        block.register_forward_hook(lambda _, __, decoded: (decoded.retain_grad(), maps.insert(0, decoded))[1])
    middle = whole_cells(256, 0, halvings)

    decoder(encoded)[0][..., middle, middle].sum().backward()

    for i, level in enumerate(maps):
        assert level.grad is not None
        kept = whole_cells(256, i, halvings)
        for axis in (2, 3):
            reached = level.grad.abs().sum(dim=[other for other in range(4) if other != axis]).nonzero().flatten()
            before, behind = kept.start - int(reached.min()), int(reached.max()) - (kept.stop - 1)
            assert max(before, behind) == REACHES_PX[i]


@torch.no_grad()
def test_what_cannot_reach_the_center_is_not_computed() -> None:
    encoder, decoder = pair("none")
    encoded = encoder(image(256, 256))
    seen: list[tuple[int, ...]] = []
    for level in decoder.blocks:
        level.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[-2:])))

    decoder(encoded, halvings=2)

    # 64 of 256 px, and 4 cells to each side of level 1 and so on: as far as the finer level and the block look.
    assert seen == [(18, 18), (26, 26), (40, 40), (68, 68)]


@given(
    rows=st.integers(4, 20).map(lambda cells: cells * DEEPEST),
    columns=st.integers(4, 20).map(lambda cells: cells * DEEPEST),
    halvings=st.integers(0, 2),
)
@settings(deadline=None, max_examples=40)
def test_centers_have_halved_edges_at_every_level(rows: int, columns: int, halvings: int) -> None:
    maps = [
        torch.stack(torch.meshgrid(torch.arange(rows >> i), torch.arange(columns >> i), indexing="ij"))[None].double()
        for i in range(len(WIDTHS))
    ]

    found = centers(maps, halvings)

    for level, part in zip(maps, found, strict=True):
        kept = [edge >> halvings for edge in level.shape[-2:]]
        assert list(part.shape[-2:]) == kept
        off_by = level.mean(dim=(0, 2, 3)) - part.mean(dim=(0, 2, 3))
        is_odd = [(edge - left) % 2 for edge, left in zip(level.shape[-2:], kept, strict=True)]
        assert off_by.tolist() == [0.5 * odd for odd in is_odd]
