import pytest
import torch
from torch import Tensor, nn

from qpbridge.core.geometry import FieldOfView, View
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import DeviceMemoryError
from qpbridge.inference.device import Runtime
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.models.spec import ModelClass

CPU = torch.device("cpu")
VIEW = View(name="x20", fov=FieldOfView(size_px=8, mpp=0.5))
TUMOR = ModelClass(name="Tumor", color_rgb=(200, 0, 0))
GLASS = ModelClass(name="Background", color_rgb=(255, 255, 255))
REST = ModelClass(name="(rest)", color_rgb=(0, 0, 0), is_written=False)


class Brightness(nn.Module):
    """Class 1 where red is above one half, otherwise class 0; fails above a batch size like a small GPU."""

    def __init__(self, fits: int = 1000, message: str = "CUDA out of memory. Tried to allocate 2 GiB") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.fits = fits
        self.message = message
        self.seen: list[int] = []

    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        red = views["x20"][:, :1]
        if len(red) > self.fits:
            raise torch.OutOfMemoryError(self.message)
        self.seen.append(len(red))
        return {"logits": torch.cat([0.5 - red, red - 0.5], dim=1) * self.weight}


def segmenter(network: nn.Module, *classes: ModelClass) -> Segmenter:
    return Segmenter(
        network=network, views=(VIEW,), classes=classes, probabilities=lambda outputs: outputs["logits"].softmax(1)
    )


def engine_of(network: nn.Module, batch_size: int, progress: SilentProgress) -> Engine:
    runtime = Runtime(device=CPU, batch_size=batch_size)
    return Engine(segmenter(network, TUMOR, GLASS), runtime, progress)


def tiles(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 8, 8, 3), dtype=torch.uint8, generator=generator)


def test_labels_are_the_most_probable_classes() -> None:
    pixels = tiles(3)

    labels = engine_of(Brightness(), 4, SilentProgress()).labels({"x20": pixels})

    assert labels.dtype is torch.uint8
    torch.testing.assert_close(labels, (pixels[..., 0] > 127).to(torch.uint8))


def test_bf16_labels_differ_only_at_ties() -> None:
    pixels = tiles(2)
    network = nn.Conv2d(3, 2, 3, padding=1)
    wrapped = nn.Module()
    wrapped.add_module("conv", network)
    wrapped.forward = lambda views: {"logits": network(views["x20"])}  # type: ignore[method-assign]
    exact = Engine(segmenter(wrapped, TUMOR, GLASS), Runtime(device=CPU), SilentProgress())
    fast = Engine(segmenter(wrapped, TUMOR, GLASS), Runtime(device=CPU, is_bf16=True), SilentProgress())

    logits = network(pixels.permute(0, 3, 1, 2) / 255).detach()
    agree = exact.labels({"x20": pixels}) == fast.labels({"x20": pixels})

    assert agree[(logits[:, 0] - logits[:, 1]).abs() > 0.05].all()


def test_a_batch_is_halved_until_it_fits_and_stays_so() -> None:
    progress, network = SilentProgress(), Brightness(fits=3)
    engine = engine_of(network, 8, progress)
    pixels = tiles(8)

    first = engine.labels({"x20": pixels})
    engine.labels({"x20": pixels})

    torch.testing.assert_close(first, (pixels[..., 0] > 127).to(torch.uint8))
    assert network.seen == [2, 2, 2, 2] * 2
    assert progress.warnings == [
        "memory of cpu ran out at 8 tiles at once; went on with 4",
        "memory of cpu ran out at 4 tiles at once; went on with 2",
    ]


def test_a_single_tile_that_does_not_fit_is_told() -> None:
    with pytest.raises(DeviceMemoryError, match="a single tile does not fit the memory of cpu"):
        engine_of(Brightness(fits=0), 2, SilentProgress()).labels({"x20": tiles(2)})


def test_other_failures_of_a_network_are_not_taken_for_memory() -> None:
    progress = SilentProgress()

    with pytest.raises(RuntimeError, match="misaligned"):
        engine_of(Brightness(fits=0, message="misaligned address"), 2, progress).labels({"x20": tiles(2)})

    assert progress.warnings == []


def test_glass_is_background_or_else_the_output_never_written() -> None:
    network = Brightness()

    assert segmenter(network, TUMOR, GLASS, REST).background == 1
    assert segmenter(network, TUMOR, REST).background == 1
    assert segmenter(network, TUMOR, ModelClass(name="Stroma", color_rgb=(0, 200, 0))).background is None


def test_a_network_is_put_into_evaluation_mode() -> None:
    network = Brightness().train()

    engine_of(network, 2, SilentProgress())

    assert not network.training
