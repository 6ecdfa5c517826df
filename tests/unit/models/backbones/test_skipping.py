import pytest
import torch

from qpbridge.models.backbones.skipping import SkipDecoder

CHANNELS = (8, 8, 16, 16, 32)


def _maps(rows: int, columns: int) -> list[torch.Tensor]:
    return [torch.rand(2, width, rows >> i + 1, columns >> i + 1) for i, width in enumerate(CHANNELS)]


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_the_decoder_gives_features_of_every_pixel_that_depend_on_every_map(norm: str, align_corners: bool) -> None:
    torch.manual_seed(0)
    decoder = SkipDecoder(CHANNELS, 2, norm, align_corners=align_corners)
    x, maps = torch.rand(2, 3, 64, 96), _maps(64, 96)
    deepest = torch.cat([maps[-1], torch.rand_like(maps[-1])], dim=1)
    inputs = [one.requires_grad_() for one in (x, *maps[:-1], deepest)]

    features = decoder(x, maps[:-1], deepest)
    features.square().sum().backward()

    assert features.shape == (2, 8, 64, 96)
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in inputs)


def test_the_decoder_is_as_wide_as_published_over_resnet18() -> None:
    with torch.device("meta"):
        decoder = SkipDecoder((64, 64, 128, 256, 512), 1, "none", align_corners=True)

    assert [step[0].out_channels for step in reversed(decoder.steps)] == [512, 256, 256, 128, 64]
    assert sum(p.numel() for p in decoder.parameters()) == 17_804_164 - 11_176_512 - 260  # less ResNet-18 and head
