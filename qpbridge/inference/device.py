"""The device that networks run on, and what suits it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpbridge.errors import InvalidValueError

if TYPE_CHECKING:
    import torch

_BATCH_SIZES = {"cpu": 2, "mps": 4, "cuda": 16}
"""Tiles at once. Two keep a CPU's cancel prompt at no loss of speed; a GPU that cannot hold 16 halves them."""

_READERS_MAX = 8
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
_BF16_FEATURES = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How a network is run.

    Parameters
    ----------
    device : torch.device
        Where.
    is_bf16 : bool
        Whether convolutions and products are computed in bfloat16, under autocast.
    batch_size : int
        Tiles at once, halved when memory runs out.
    readers : int
        Threads that read the slide meanwhile.
    """

    device: torch.device
    is_bf16: bool = False
    batch_size: int = 2
    readers: int = 2

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.readers < 1:
            raise InvalidValueError(
                f"a batch of {self.batch_size} tiles read by {self.readers} threads is nothing to run; give 1 or more"
            )

    @classmethod
    def suited_to(cls, device: torch.device) -> Runtime:
        """Return the settings that suit a device."""
        return cls(
            device=device,
            is_bf16=has_fast_bf16(device),
            batch_size=_BATCH_SIZES.get(device.type, 2),
            readers=2 if device.type == "cpu" else min(_READERS_MAX, available_cores()),
        )


def choose_device(name: str = "auto") -> torch.device:
    """Return the device that a user asked for.

    Parameters
    ----------
    name : str
        ``"auto"`` (the GPU there is, otherwise the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.

    Raises
    ------
    InvalidValueError
        If there is no such device here.
    """
    import torch

    wanted = re.fullmatch(r"(auto|cpu|mps)|cuda(?::(\d+))?", name)
    if wanted is None:
        raise InvalidValueError(f"device '{name}' does not exist; there are: auto, cpu, cuda, cuda:N, mps")
    if name == "auto":
        return torch.device(_best_device())
    if name.startswith("cuda"):
        _require_gpu(name, int(wanted[2] or 0))
    if name == "mps" and not torch.backends.mps.is_available():
        raise InvalidValueError("device 'mps' is not here: it needs a Mac with Apple silicon; use --device cpu")
    return torch.device(name)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32.

    Told from its features, never from a timing, so that the same machine always computes the same. CPUs with
    AMX or AVX512-BF16 gain a factor of 2 to 3 even for networks of 8 channels; others would emulate it.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # torch before 2.12 does not tell; float32 is right everywhere.
        features: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(features.get(feature, False) for feature in _BF16_FEATURES)
    return False


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Let convolutions on a GPU add up in the same order every time; what runs on a CPU does so anyway."""
    import torch

    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


def available_cores() -> int:
    """Return how many cores this process may use, which a scheduler can make fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_available_cores() -> int:
    """Let torch use the cores that the process may use, or fewer where OMP_NUM_THREADS says so; return the number."""
    import torch

    limit = os.environ.get("OMP_NUM_THREADS", "")
    threads = min(available_cores(), int(limit)) if limit.isdigit() and int(limit) > 0 else available_cores()
    torch.set_num_threads(threads)
    return threads


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of the device's memory."""
    return any(text in str(error).lower() for text in _OUT_OF_MEMORY)


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _require_gpu(name: str, index: int) -> None:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        present = f"{count} CUDA GPU(s)" if count else "no CUDA GPU that torch can use"
        raise InvalidValueError(f"device '{name}' is not here: this machine has {present}; use --device auto or cpu")
