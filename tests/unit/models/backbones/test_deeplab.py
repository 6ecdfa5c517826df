import pytest
import torch

from qpbridge.models.backbones.deeplab import DeepLab, PooledNorm, light_trunk, resnet101_trunk


def _light(classes: int = 3) -> DeepLab:
    torch.manual_seed(0)
    return DeepLab(light_trunk(4), classes, width=8, fine_width=4, rates=(2, 4, 6))


def test_the_parameters_are_as_many_as_published() -> None:
    with torch.device("meta"):
        network = DeepLab(resnet101_trunk("imagenet"), 4)

    assert sum(p.numel() for p in network.parameters()) == 59_339_940


def test_the_last_stage_is_a_multi_grid_with_cells_of_16_px() -> None:
    with torch.device("meta"):
        trunk = resnet101_trunk("imagenet")
        fine = trunk.fine(torch.empty(1, 3, 224, 224))
        deep = trunk.deep(fine)

    assert tuple(fine.shape[1:]) == (256, 56, 56)
    assert tuple(deep.shape[1:]) == (2048, 14, 14)
    assert [unit.conv2.dilation for unit in trunk.deep[-1]] == [(2, 2), (4, 4), (8, 8)]


def test_the_gradient_reaches_every_parameter() -> None:
    network = _light()

    network(torch.rand(3, 3, 64, 80)).square().sum().backward()

    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("size", [(16, 16), (33, 50), (100, 17)])
@torch.no_grad()
def test_any_size_from_a_cell_of_16_px_on_will_do(size: tuple[int, int]) -> None:
    assert _light().eval()(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_a_batch_of_one_image_trains() -> None:
    assert torch.isfinite(_light().train()(torch.rand(1, 3, 64, 64))).all()


def test_pooled_values_of_several_images_are_normalized_as_usual() -> None:
    norm, usual = PooledNorm(3), torch.nn.BatchNorm2d(3)
    x = torch.rand(4, 3, 1, 1)

    torch.testing.assert_close(norm(x), usual(x))
    torch.testing.assert_close(norm.running_mean, usual.running_mean)
    torch.testing.assert_close(norm(x[:1]), usual.eval()(x[:1]))
