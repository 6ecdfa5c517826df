"""A classifier that says which classes occur, and whose maps say where; B images, K classes."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from qpbridge.models.blocks import initialize

FIRST_EPOCH: Final = 3
"""First epoch with attention, counted from 0 (Han et al. 2022, public program: from the fourth on)."""

DECAY: Final = 0.98
"""Factor of the threshold after every epoch (Han et al. 2022, public program)."""

LEAST: Final = 0.65
"""At or below this, the threshold falls no more (Han et al. 2022, public program)."""


def attention_threshold(epoch: int) -> float | None:
    """Return the threshold of progressive dropout attention in an epoch counted from 0; None where there is none yet.

    References
    ----------
    Han et al. 2022, progressive dropout attention; schedule: public program.
    """
    if epoch < FIRST_EPOCH:
        return None
    threshold = 1.0
    for _ in range(epoch):
        threshold *= DECAY if threshold > LEAST else 1.0
    return threshold


def dropout_attention(maps_BKHW: Tensor, threshold: float) -> Tensor:
    """Return attention (B, 1, H, W) that leaves out where classes show most, so that training looks elsewhere, too.

    Parameters
    ----------
    maps_BKHW : Tensor
        Class activation maps.
    threshold : float
        Share of each map's maximum above which it is left out; at 1 nothing is.

    References
    ----------
    Han et al. 2022, progressive dropout attention: the mean over all classes of what is left.
    """
    maps = maps_BKHW.relu()
    most = maps.amax(dim=(2, 3), keepdim=True)
    return maps.where(maps <= threshold * most, 0.0).mean(dim=1, keepdim=True)


class Classifier(nn.Module):
    """Says which classes occur in an image, from the mean of its last map.

    Parameters
    ----------
    parts : nn.ModuleList
        An encoder in as many parts as there are maps to take pseudo masks from.
    channels : int
        Of the last part's map, which must not be negative.
    classes : int
        Number of classes.
    """

    def __init__(self, parts: nn.ModuleList, channels: int, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(0.5)
        self.scores = nn.Conv2d(channels, classes, kernel_size=1, bias=False)
        initialize(self)
        self.parts = parts

    def forward(self, x: Tensor, threshold: float | None = None, tagged_BHW: Tensor | None = None) -> Tensor:
        """Return logits of the classes' presence (B, K).

        Parameters
        ----------
        x : Tensor, shape (B, 3, H, W)
            Images as the network sees them.
        threshold : float or None
            Of progressive dropout attention, in training; None for none.
        tagged_BHW : Tensor of bool or None
            Pixels that the presence is about; all where None.
        """
        for part in self.parts:
            x = part(x)
        if threshold is not None:
            maps = self.scores(x)
            seen = maps if tagged_BHW is None else maps * shares(tagged_BHW, maps)
            x = x * dropout_attention(seen, threshold)
        return self.judged(x, tagged_BHW)

    def judged(self, features: Tensor, tagged_BHW: Tensor | None = None) -> Tensor:
        """Return logits of the classes' presence (B, K) from the last part's map."""
        features = self.dropout(features)
        if tagged_BHW is None:
            mean = features.mean(dim=(2, 3), keepdim=True)
        else:
            weights = shares(tagged_BHW, features)
            total = weights.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
            mean = (features * weights).sum(dim=(2, 3), keepdim=True) / total
        scores: Tensor = self.scores(mean)
        return scores.flatten(1)


def shares(tagged_BHW: Tensor, like_BChw: Tensor) -> Tensor:
    """Return which share of each cell of a map is tagged, float, shape (B, 1, h, w)."""
    tagged = tagged_BHW[:, None].to(like_BChw.dtype)
    return functional.adaptive_avg_pool2d(tagged, (like_BChw.shape[2], like_BChw.shape[3]))
