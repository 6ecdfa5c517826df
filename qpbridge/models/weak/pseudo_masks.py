"""Labels of pixels made from a classifier that only ever learned which classes occur.

B images, K classes, T parts of the classifier's encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import cc3d
import numpy as np
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.models.blocks import resized
from qpbridge.models.weak.attention import Classifier

PRESENT_ABOVE: Final = 0.25
"""Probability above which a class counts as present where that is not known (Han et al. 2022, public program)."""

WHITE_ABOVE: Final = 200 / 255
"""Gray value above which a pixel may be an excluded white area (Han et al. 2022, public program)."""

WHITE_MIN_PX: Final = 50
"""Least pixels of an excluded white area (Han et al. 2022, public program)."""

LUMINANCE: Final = (0.299, 0.587, 0.114)
"""Of red, green and blue in gray (ITU-R BT.601)."""


def pseudo_masks(
    classifier: Classifier,
    seen: Tensor,
    presence_BK: Tensor,
    tagged_BHW: Tensor | None = None,
    excluded_BHW: Tensor | None = None,
) -> Tensor:
    """Return labels of pixels by what each part of a classifier looks at.

    Gradients are taken in here, so that this works under ``torch.no_grad``, but not in inference mode. The classifier
    works as in evaluation.

    Parameters
    ----------
    classifier : Classifier
        Trained.
    seen : Tensor, shape (B, 3, H, W)
        Images as the classifier sees them.
    presence_BK : Tensor of int64
        1 where a class occurs, 0 where not; where it is ``IGNORE_INDEX``, the classifier decides.
    tagged_BHW : Tensor of bool, optional
        Pixels that the presence is about; all others get no label.
    excluded_BHW : Tensor of bool, optional
        Pixels that get no label, either, e.g. ``white_areas``.

    Returns
    -------
    Tensor of int64, shape (B, T, H, W)
        From the deepest part to the first; ``IGNORE_INDEX`` where no class that occurs shows at all.

    References
    ----------
    Han et al. 2022, pseudo masks. There such pixels fall to the first class.
    """
    chances_BK, maps = class_maps(classifier, seen, tagged_BHW)
    known = presence_BK != IGNORE_INDEX
    present = torch.where(known, presence_BK == 1, chances_BK > PRESENT_ABOVE)
    masks = [_labels(one, present, seen.shape[2:]) for one in reversed(maps)]
    labels = torch.stack(masks, dim=1)
    if tagged_BHW is not None:
        labels = labels.masked_fill(~tagged_BHW[:, None], IGNORE_INDEX)
    return labels if excluded_BHW is None else labels.masked_fill(excluded_BHW[:, None], IGNORE_INDEX)


def class_maps(classifier: Classifier, seen: Tensor, tagged_BHW: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
    """Return the probabilities of the classes (B, K), and for each part where they come from, (B, K, h, w).

    References
    ----------
    Selvaraju et al. 2017, "Grad-CAM", without the ReLU, of the sigmoid of each class's logit (Han et al. 2022).
    """
    with _evaluating(classifier), torch.enable_grad():
        first, *others = classifier.parts
        # What lies before the first map needs no gradient, and so no memory.
        with torch.no_grad():
            taps = [first(seen)]
        taps[0].requires_grad_()
        for part in others:
            taps.append(part(taps[-1]))
        chances_BK = classifier.judged(taps[-1], tagged_BHW).sigmoid()
        by_class = [_activation(chances_B, taps) for chances_B in chances_BK.unbind(dim=1)]
    return chances_BK.detach(), [torch.stack(maps, dim=1) for maps in zip(*by_class, strict=True)]


def _activation(chances_B: Tensor, taps: list[Tensor]) -> list[Tensor]:
    # Images do not see one another in evaluation, so that one sum serves them all.
    gradients = torch.autograd.grad(chances_B.sum(), taps, retain_graph=True)
    return [
        (gradient.mean(dim=(2, 3), keepdim=True) * tap.detach()).sum(dim=1)
        for gradient, tap in zip(gradients, taps, strict=True)
    ]


def _labels(maps_BKhw: Tensor, present_BK: Tensor, size: torch.Size) -> Tensor:
    maps = resized(maps_BKhw.float(), size)
    low, high = maps.amin(dim=(1, 2, 3), keepdim=True), maps.amax(dim=(1, 2, 3), keepdim=True)
    scores = (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)
    best, labels = (scores * present_BK[:, :, None, None]).max(dim=1)
    return labels.where(best > 0, IGNORE_INDEX)


def white_areas(images: Tensor) -> Tensor:
    """Return where images (B, 3, H, W) in 0..1 are white over an area, bool, shape (B, H, W), on the same device.

    References
    ----------
    Han et al. 2022: excluded in lung tissue; not where white may be a class of its own, as fat.
    """
    gray = (images * images.new_tensor(LUMINANCE)[:, None, None]).sum(dim=1)
    masks = (gray > WHITE_ABOVE).cpu().numpy().astype(np.uint8)
    areas = [cc3d.dust(mask, threshold=WHITE_MIN_PX, connectivity=4, in_place=False) for mask in masks]
    return torch.from_numpy(np.stack(areas) > 0).to(images.device)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)
