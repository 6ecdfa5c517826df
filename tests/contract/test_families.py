"""What every family must do, in every variant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap
from qpbridge.models.bundle import load_bundle, save_bundle, versions
from qpbridge.models.family import LABELS, Encode, Family, Outputs, Targets, Truth
from qpbridge.models.recipe import Recipe
from qpbridge.models.registry import CONFIG_TYPES, FAMILIES
from qpbridge.models.spec import FamilyConfig, Manifest, ModelClass, Provenance, manifest_from_json
from qpbridge.vector.labels import Subject

TINY: dict[str, dict[str, object]] = {
    "dmmn": {"width": 4, "patch_px": 64, "norm": "batch"},
    "multiscale": {"backbone": "light", "width": 4, "patch_px": 64, "norm": "batch"},
    "foveation": {"segmenter": "unet", "width": 4, "patch_px": 32, "fields_px": (32, 64), "glance_px": 9},
    "use_net": {"width": 4, "patch_px": 64, "weights": "random", "class_head": True},
    "weak_tissue": {"classifier": "light", "segmenter": "light", "width": 4, "patch_px": 64, "dropout": False},
}
"""Settings that make each family's networks small."""

LARGE = {"se_resnet50", "resnet50", "resnet18"}
"""Variants that no setting makes small; their own tests build them."""

CLASSES = [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in ("a", "b", "c")]
PROVENANCE = Provenance(
    created="2026-11-20T12:00:00+00:00", versions=versions(), seed=0, recipe=Recipe(), project="p",
    training_entries=("a",), validation_entries=("b",), annotated_area_um2={"a": 1.0},
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    family: Family[Any]
    config: FamilyConfig

    def network(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        network: nn.Module = self.family.build(self.config, len(CLASSES))
        return network

    def loss(self, outputs: Outputs, targets: Targets) -> Tensor:
        """The losses of all stages of training together."""
        weights = torch.ones(len(CLASSES))
        return torch.stack([one.loss(outputs, targets, weights) for one in self.family.course(self.config)]).sum()

    def views(self, batch: int, edge: int | None = None, seed: int = 0) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        return {
            view.name: torch.rand(batch, 3, edge or view.fov.size_px, edge or view.fov.size_px, generator=draw)
            for view in self.family.views(self.config)
        }

    def targets(self, labels: Tensor) -> Targets:
        """What the family makes of labels; the surroundings look alike, and each piece of a class is a nucleus."""
        encode = self.family.encoding(self.family.spec(self.config, CLASSES)).encode
        made = [self._encoded(encode, one) for one in labels.numpy().astype(np.uint8)] if encode else [{}]
        targets = {name: torch.from_numpy(np.stack([one[name] for one in made])) for name in made[0]}
        return targets | {LABELS: labels}

    def _encoded(self, encode: Encode, labels: LabelMap) -> dict[str, npt.NDArray[Any]]:
        mpp = self.family.views(self.config)[0].fov.mpp
        # The last class of a family of nuclei is what is no nucleus.
        nuclei = labels < len(CLASSES) - (self.family.subject is Subject.NUCLEI)
        instances = np.where(nuclei, labels + 1, 0).astype(np.int32)
        return encode(Truth(labels=labels, surroundings=labels, instances=instances, mpp=mpp, classes=len(CLASSES)))

    def labels(self, batch: int) -> Tensor:
        """Labels in bands, a fourth of the pixels unlabelled."""
        edge = self.family.views(self.config)[0].fov.size_px
        bands = (torch.arange(edge) * 4 // edge).expand(batch, edge, edge)
        turns = torch.arange(batch)[:, None, None]
        return ((bands + turns) % 4).where((bands + turns) % 4 < 3, IGNORE_INDEX)


@pytest.fixture(
    params=[(item, variant) for item in FAMILIES for variant in item.variants if variant not in LARGE],
    ids=lambda p: f"{p[0].name}-{p[1]}",
)
def case(request: pytest.FixtureRequest) -> Case:
    family, variant = request.param
    return Case(family, family.config_type(**TINY[family.name], variant=variant))


def test_heads_have_the_shapes_that_the_spec_tells(case: Case) -> None:
    spec = case.family.spec(case.config, CLASSES)
    outputs = case.network()(case.views(batch=2))

    assert {name: x.shape[1] for name, x in outputs.items()} == {head.name: head.channels for head in spec.heads}
    assert case.family.probabilities(outputs).shape == (2, len(CLASSES), *case.views(1)[spec.views[0].name].shape[2:])


@torch.no_grad()
def test_probabilities_sum_to_one(case: Case) -> None:
    probabilities = case.family.probabilities(case.network().eval()(case.views(batch=1)))

    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones_like(probabilities[:, 0]))


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_size_trains(case: Case, batch: int) -> None:
    outputs = case.network().train()(case.views(batch))

    assert torch.isfinite(case.loss(outputs, case.targets(case.labels(batch))))


@torch.no_grad()
def test_any_edge_that_the_divisor_divides_predicts(case: Case) -> None:
    divisor = case.family.divisor(case.config)
    network = case.network().eval()

    for edge in (divisor, 3 * divisor):
        assert case.family.probabilities(network(case.views(1, edge))).shape[2:] == (edge, edge)


def test_the_gradient_reaches_every_parameter(case: Case) -> None:
    network = case.network().train()

    case.loss(network(case.views(4)), case.targets(case.labels(4))).backward()

    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_a_batch_without_labels_moves_nothing(case: Case) -> None:
    network = case.network().train()

    unknown = case.targets(torch.full_like(case.labels(2), IGNORE_INDEX))
    loss = case.loss(network(case.views(2)), unknown)
    loss.backward()

    assert loss.item() == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in network.parameters())


@torch.no_grad()
def test_the_seed_determines_the_network(case: Case) -> None:
    first, same, other = (case.network(seed).eval()(case.views(1)) for seed in (0, 0, 1))

    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@torch.no_grad()
def test_patches_of_a_batch_do_not_see_one_another_in_prediction(case: Case) -> None:
    network, views = case.network().eval(), case.views(3)

    together = case.family.probabilities(network(views))

    alone = [case.family.probabilities(network({name: x[i : i + 1] for name, x in views.items()})) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_the_spec_survives_json(case: Case) -> None:
    spec = case.family.spec(case.config, CLASSES)
    content = Manifest(weights_sha256="00", model=spec, provenance=PROVENANCE).to_json()

    assert manifest_from_json(content, CONFIG_TYPES, Path("spec.json")).model == spec


def test_a_bundle_gives_the_output_of_the_network_that_was_saved(case: Case, tmp_path: Path) -> None:
    network = case.network().train()
    network(case.views(2, seed=1))  # moves running statistics, where there are any

    save_bundle(tmp_path / "m", case.family.spec(case.config, CLASSES), network, PROVENANCE)

    saved, loaded = network.eval()(case.views(1)), load_bundle(tmp_path / "m").network(case.views(1))
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_four_patches_can_be_learned_by_heart(case: Case) -> None:
    network, views, labels = case.network().train(), case.views(4), case.labels(4)
    targets = case.targets(labels)
    # Each patch carries its labels' bands in its colors, so that there is something to learn.
    finest = next(iter(views))
    views[finest] = 0.2 * views[finest] + 0.25 * labels.clamp(max=3)[:, None]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)

    for _ in range(400):
        outputs = network(views)
        if _accuracy(case.family.probabilities(outputs), labels) > 0.97:
            return
        optimizer.zero_grad()
        case.loss(outputs, targets).backward()
        optimizer.step()

    pytest.fail(
        f"after 400 steps {_accuracy(case.family.probabilities(network(views)), labels):.3f} of pixels are right"
    )


def _accuracy(probabilities: Tensor, target: Tensor) -> float:
    labelled = target != IGNORE_INDEX
    return (probabilities.argmax(1)[labelled] == target[labelled]).float().mean().item()
