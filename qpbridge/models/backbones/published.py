"""Networks of the timm library, with the weights published there or with new ones."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import torch
from torch import nn

from qpbridge.errors import WeightsMissingError

Weights: TypeAlias = Literal["imagenet", "random"]
"""What training starts from."""

RESNET18_CHANNELS: Final = (64, 64, 128, 256, 512)
"""Of the five levels of ``resnet18_levels``."""


def timm_network(name: str, weights: str, **options: Any) -> nn.Module:
    """Return a network of timm.

    Parameters
    ----------
    name : str
        In timm.
    weights : str
        ``"imagenet"`` fetches the published weights, or takes them from timm's cache; ``"random"`` draws new ones.
        On torch's "meta" device there are no weights, so nothing is fetched.
    **options
        Of ``timm.create_model``.

    Raises
    ------
    WeightsMissingError
        If published weights are asked for, but cannot be fetched and are not in timm's cache.
    """
    import httpx
    import timm

    is_fetched = weights == "imagenet" and torch.get_default_device().type != "meta"
    try:
        network: nn.Module = timm.create_model(name, pretrained=is_fetched, **options)
    except (OSError, RuntimeError, httpx.HTTPError) as error:
        # Without a network, the hub's client ends in one or the other, by its version.
        if not is_fetched:
            raise
        raise WeightsMissingError(
            f"the ImageNet weights of {name} could not be fetched ({error}): train once where the internet can be "
            "reached, or start from random weights with --set weights=random"
        ) from error
    return network


def resnet18_levels(weights: str) -> nn.ModuleList:
    """Return ResNet-18 as five levels, each with half the edge of the one before, the first with half the image's.

    References
    ----------
    He et al. 2016, "Deep residual learning for image recognition".
    """
    # Branches that start at zero (timm's own choice) would get no gradient in the first step.
    network = timm_network("resnet18", weights, num_classes=0, zero_init_last=False)
    parts = dict(network.named_children())
    return nn.ModuleList(
        [
            nn.Sequential(parts["conv1"], parts["bn1"], parts["act1"]),
            nn.Sequential(parts["maxpool"], parts["layer1"]),
            parts["layer2"],
            parts["layer3"],
            parts["layer4"],
        ]
    )


def resnet50_parts(weights: str) -> nn.ModuleList:
    """Return ResNet-50 with cells of 8 px, in three parts that end with its last three stages."""
    network = timm_network("resnet50", weights, num_classes=0, output_stride=8, zero_init_last=False)
    parts = dict(network.named_children())
    start = [parts[name] for name in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2")]
    return nn.ModuleList([nn.Sequential(*start), parts["layer3"], parts["layer4"]])
