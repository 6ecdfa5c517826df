from pathlib import Path

import pytest
import torch

from qpbridge.core.progress import SilentProgress
from qpbridge.errors import DiskFullError
from qpbridge.training.fitting import checkpoints
from qpbridge.training.fitting.checkpoints import FACTS, TENSORS, Checkpoint, CheckpointFile


class Told(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


SOME = Checkpoint(
    tensors={"network/a": torch.arange(3.0), "network/b/c": torch.ones(2, 2), "random/cpu": torch.get_rng_state()},
    facts={"step": 7, "records": [{"mean_iou": 0.1 + 0.2}]},
)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = CheckpointFile(tmp_path / "c", "this training")

    kept.save(SOME, Told())
    back = CheckpointFile(tmp_path / "c", "this training").load(Told())

    assert back is not None
    assert back.facts == SOME.facts
    assert all(torch.equal(back.tensors[name], value) for name, value in SOME.tensors.items())
    assert set(back.part("network")) == {"a", "b/c"}


def test_the_checkpoint_of_another_training_is_told_and_not_taken(tmp_path: Path) -> None:
    CheckpointFile(tmp_path / "c", "seed 0").save(SOME, Told())
    told = Told()

    assert CheckpointFile(tmp_path / "c", "seed 1").load(told) is None
    assert "begins anew" in told.warnings[0]


def test_where_there_is_none_nothing_is_told(tmp_path: Path) -> None:
    told = Told()

    assert CheckpointFile(tmp_path / "c", "x").load(told) is None
    assert told.warnings == []


@pytest.mark.parametrize("name", [TENSORS, FACTS])
def test_a_damaged_checkpoint_is_told_and_not_taken(tmp_path: Path, name: str) -> None:
    kept, told = CheckpointFile(tmp_path / "c", "x"), Told()
    kept.save(SOME, told)
    (tmp_path / "c" / name).write_bytes(b"\x00\x01")

    assert kept.load(told) is None
    assert "cannot be read" in told.warnings[0]


def test_cleared_nothing_is_left(tmp_path: Path) -> None:
    kept = CheckpointFile(tmp_path / "c", "x")
    kept.save(SOME, Told())

    kept.clear()

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_the_checkpoint_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, told = CheckpointFile(tmp_path / "c", "x"), Told()
    kept.save(SOME, told)

    def full(*_: object) -> None:
        raise DiskFullError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_file", full)
        kept.save(Checkpoint(facts={"step": 8}), told)

    assert "no space left" in told.warnings[0]
    back = kept.load(told)
    assert back is not None
    assert back.facts["step"] == 7
