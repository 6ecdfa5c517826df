import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.models.weak.presence import CLOSED_BELOW, gated, presence_loss, presence_of


def _labels(*counts: int, unlabelled: int = 0) -> np.ndarray:
    values = [label for label, count in enumerate(counts) for _ in range(count)] + [IGNORE_INDEX] * unlabelled
    return np.array(values, np.uint8)[None]


@pytest.mark.parametrize(
    ("labels", "absence_share", "expected"),
    [
        (_labels(50, 50), 1.0, [1, 1, 0]),
        (_labels(99, 1), 1.0, [1, 1, 0]),
        (_labels(995, 5), 1.0, [1, 255, 0]),  # too little to be sure
        (_labels(50, 0, unlabelled=50), 0.9, [1, 255, 255]),
        (_labels(50, 0, unlabelled=50), 0.5, [1, 0, 0]),
        (_labels(1, 0, unlabelled=99), 0.0, [1, 0, 0]),
        (_labels(0, 0, unlabelled=100), 0.0, [255, 255, 255]),
    ],
)
def test_presence_is_told_as_far_as_the_labels_tell(
    labels: np.ndarray, absence_share: float, expected: list[int]
) -> None:
    assert presence_of(labels, 3, 0.01, absence_share).tolist() == expected


def test_the_loss_of_what_is_known_is_the_soft_margin_loss() -> None:
    logits, presence = torch.randn(4, 3), torch.randint(0, 2, (4, 3))

    expected = torch.nn.functional.multilabel_soft_margin_loss(logits, presence.float())
    torch.testing.assert_close(presence_loss(logits, presence), expected)


def test_what_is_not_known_costs_nothing_and_gets_no_gradient() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    presence = torch.tensor([[1, IGNORE_INDEX, 0], [IGNORE_INDEX] * 3])

    presence_loss(logits, presence).backward()

    assert logits.grad is not None
    assert ((logits.grad != 0) == (presence != IGNORE_INDEX)).all()
    assert presence_loss(logits, torch.full_like(presence, IGNORE_INDEX)) == 0


@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 1.0, 100.0]))
def test_the_gate_never_selects_a_closed_class(seed: int, scale: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(3, 4, 5, 5, generator=draw) - 10
    presence = 4 * torch.randn(3, 4, generator=draw)

    found = gated(logits, presence)

    is_open = presence.sigmoid() > CLOSED_BELOW
    for i in range(3):
        open_classes = set(torch.nonzero(is_open[i]).flatten().tolist()) or {int(presence[i].argmax())}
        assert set(found[i].argmax(0).unique().tolist()) <= open_classes
        kept = sorted(open_classes)
        assert torch.equal(found[i, kept], logits[i, kept])
        closed = [k for k in range(4) if k not in open_classes]
        assert (found.softmax(1)[i, closed] < 1e-8).all()


@pytest.mark.parametrize("presence", [[5.0, 5.0], [-9.0, -8.0]])
def test_the_gate_leaves_a_class_open(presence: list[float]) -> None:
    logits = torch.tensor([-1.0, 2.0])[None, :, None, None]

    assert gated(logits, torch.tensor([presence])).argmax(1).item() == 1
