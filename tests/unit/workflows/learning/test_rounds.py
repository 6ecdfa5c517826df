from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import BundleNotFoundError, InvalidValueError
from qpbridge.models.bundle import load_bundle
from qpbridge.workflows.learning.rounds import load_base, plan_of
from qpbridge.workflows.train import TrainRequest, train

MakeProject = Callable[..., Path]
Annotate = Callable[..., PathObject]
FAST = {
    "variant": "unet", "width": "2", "norm": "batch", "patch_px": "64", "stride_px": "64", "optimizer": "adamw",
    "learning_rate": "0.02", "batch_size": "4", "epochs": "2", "repeats_max": "0",
    "stain_normalization": "reinhard",
}  # fmt: skip


class Told(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def first_round(make_project: MakeProject, annotate: Annotate, tmp_path: Path) -> TrainRequest:
    objects = [annotate("Tumor", 50, 50, 150, 250), annotate("Stroma", 250, 50, 350, 250)]
    project = make_project({"a.png": objects})
    request = TrainRequest(project=project, out=tmp_path / "one", family="dmmn", device="cpu", settings=FAST)
    train(request, SilentProgress())
    return request


def test_a_second_round_begins_with_the_weights_and_settings_of_the_first(
    first_round: TrainRequest, tmp_path: Path
) -> None:
    request = TrainRequest(
        project=first_round.project, out=tmp_path / "two", base=first_round.out, device="cpu",
        settings={"learning_rate": "1e-12", "epochs": "1"},
    )  # fmt: skip

    report = train(request, Told())

    one, two = load_bundle(first_round.out), load_bundle(tmp_path / "two")
    assert two.spec == one.spec
    assert one.spec.staining is not None
    assert two.provenance.recipe == replace(one.provenance.recipe, learning_rate=1e-12, epochs=1)
    assert two.provenance.parent_digest == one.digest
    pairs = zip(one.network.parameters(), two.network.parameters(), strict=True)
    assert all(torch.allclose(before, after, atol=1e-6) for before, after in pairs)
    assert report.progression is not None
    assert report.progression.base == one.digest
    assert [item.name for item in report.progression.classes] == ["Tumor", "Stroma"]
    for item in report.progression.classes:
        assert item.area_before_um2 == pytest.approx(item.area_um2)
        assert item.iou_before is not None
        assert 0 <= item.iou_before <= 1


def test_a_new_class_is_added_and_the_others_keep_what_they_learnt(
    first_round: TrainRequest, make_project: MakeProject, annotate: Annotate, tmp_path: Path
) -> None:
    boxes = {"Tumor": (50, 50, 150, 250), "Stroma": (250, 50, 350, 250), "Fat": (160, 50, 240, 250)}
    project = make_project({"b.png": [annotate(name, *box) for name, box in boxes.items()]}, folder="next")
    told = Told()

    request = TrainRequest(project=project, out=tmp_path / "two", base=first_round.out, device="cpu")
    report = train(request, told)

    assert report.progression is not None
    before = {item.name: item.area_before_um2 for item in report.progression.classes}
    assert before["Fat"] is None
    assert before["Tumor"] is not None
    assert not any("anew" in warning for warning in told.warnings)


def test_other_settings_of_the_network_are_told(first_round: TrainRequest, tmp_path: Path) -> None:
    told = Told()

    train(
        TrainRequest(
            project=first_round.project,
            out=tmp_path / "two",
            base=first_round.out,
            device="cpu",
            settings={"width": "3", "epochs": "1"},
        ),
        told,
    )

    assert any("begin anew" in warning for warning in told.warnings)


def test_another_family_cannot_go_on_from_a_model(first_round: TrainRequest) -> None:
    base = load_base(first_round.out)

    with pytest.raises(InvalidValueError, match="leave --family out"):
        plan_of(replace(first_round, family="other"), base)


def test_without_a_family_and_a_model_there_is_nothing_to_train(first_round: TrainRequest) -> None:
    with pytest.raises(InvalidValueError, match="--family"):
        replace(first_round, family=None)


def test_a_model_that_is_not_there_is_told_before_any_work(first_round: TrainRequest, tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="nowhere"):
        train(replace(first_round, base=tmp_path / "nowhere"), SilentProgress())
