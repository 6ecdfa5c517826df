"""Where an interrupted training goes on: all that the next epoch depends on, written after every epoch."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qpbridge import __version__
from qpbridge.core.progress import Progress
from qpbridge.errors import DiskFullError
from qpbridge.files import atomic_folder

TENSORS: Final = "tensors.safetensors"
FACTS: Final = "facts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State of a training between two epochs.

    Parameters
    ----------
    tensors : dict of str to Tensor
        Weights, moments and random states, on the CPU.
    facts : dict of str to JSON values
        Everything else.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the tensors under a name, without it."""
        return {
            key.removeprefix(f"{name}/"): value for key, value in self.tensors.items() if key.startswith(f"{name}/")
        }


class CheckpointFile:
    """Keeps the newest checkpoint of one training.

    Parameters
    ----------
    folder : Path
        Of this training alone; it appears with the first checkpoint.
    identity : str
        What the training depends on; the checkpoint of another one is not taken.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder = folder
        self._identity = hashlib.sha256(f"{__version__}\n{torch.__version__}\n{identity}".encode()).hexdigest()

    def save(self, checkpoint: Checkpoint, progress: Progress) -> None:
        """Replace the checkpoint before; a full disk is told and does not end the training."""
        facts = msgspec.json.encode({"identity": self._identity, **checkpoint.facts})
        try:
            with atomic_folder(self._folder) as draft:
                save_file({name: value.contiguous() for name, value in checkpoint.tensors.items()}, draft / TENSORS)
                (draft / FACTS).write_bytes(facts)
        except DiskFullError as error:
            progress.warn(f"{error}; an interruption from now on costs what was learnt since")

    def load(self, progress: Progress) -> Checkpoint | None:
        """Return the checkpoint, or None where there is none of this training that can be read."""
        if not (self._folder / FACTS).is_file():
            return None
        try:
            facts = msgspec.json.decode((self._folder / FACTS).read_bytes(), type=dict[str, Any])
            tensors = load_file(self._folder / TENSORS)
        except (OSError, SafetensorError, msgspec.MsgspecError) as error:
            progress.warn(f"the checkpoint in {self._folder} cannot be read ({error}): training begins anew")
            return None
        if facts.pop("identity", None) != self._identity:
            progress.warn("annotations, settings or versions have changed since the interruption: training begins anew")
            return None
        return Checkpoint(tensors=tensors, facts=facts)

    def clear(self) -> None:
        """Remove the checkpoint."""
        shutil.rmtree(self._folder, ignore_errors=True)


def weights_of(name: str, network: nn.Module) -> dict[str, Tensor]:
    """Return copies of a network's weights and statistics under a name."""
    return {f"{name}/{key}": value.detach().cpu().clone() for key, value in network.state_dict().items()}


def moments_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return copies of what an optimizer remembers of each parameter."""
    return {
        f"optimizer/{position}/{key}": torch.as_tensor(value).detach().cpu().clone()
        for position, kept in optimizer.state_dict()["state"].items()
        for key, value in kept.items()
        if value is not None
    }


def give_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Give an optimizer back what it remembered; keys as in ``moments_of``, without ``optimizer/``."""
    parameters = [weights for group in optimizer.param_groups for weights in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        position, key = name.split("/")
        weights = parameters[int(position)]
        # Fused optimizers run through memory: a moment must lie there as its weights do.
        laid = torch.empty_like(weights, dtype=value.dtype).copy_(value) if value.shape == weights.shape else value
        state.setdefault(int(position), {})[key] = laid
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators."""
    states = {"random/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random/device"] = torch.cuda.get_rng_state(device)
    return states


def give_random_states(device: torch.device, states: dict[str, Tensor]) -> None:
    """Give torch's generators their states back."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "device" in states:
        torch.cuda.set_rng_state(states["device"], device)
