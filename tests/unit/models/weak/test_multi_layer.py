import torch

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.models.losses import weighted_cross_entropy
from qpbridge.models.weak.multi_layer import masks_loss


def test_the_pseudo_masks_weigh_as_published() -> None:
    logits, masks = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 3, 8, 8))
    masks[:, :, :2] = IGNORE_INDEX

    found = masks_loss(logits, masks, torch.ones(3))

    costs = [weighted_cross_entropy(logits, masks[:, t], torch.ones(3)) for t in range(3)]
    torch.testing.assert_close(found, 0.6 * costs[0] + 0.2 * costs[1] + 0.2 * costs[2])
    one = masks_loss(logits, masks[:, :1], torch.ones(3))
    torch.testing.assert_close(one, costs[0])


def test_ignored_pixels_get_no_gradient() -> None:
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    masks = torch.full((1, 3, 8, 8), IGNORE_INDEX)
    masks[0, 0, 2, 3], masks[0, 1, 4, 5] = 1, 2

    masks_loss(logits, masks, torch.ones(3)).backward()

    assert logits.grad is not None
    assert torch.nonzero(logits.grad.abs().sum(1)[0]).tolist() == [[2, 3], [4, 5]]
