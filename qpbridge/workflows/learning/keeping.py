"""Where checkpoints of interrupted trainings are kept."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Final

from qpbridge.jobs.store.state_folder import default_state_folder
from qpbridge.training.fitting.checkpoints import CheckpointFile
from qpbridge.workflows.learning.material import Material, Plan
from qpbridge.workflows.learning.rounds import identity_of

KEPT_S: Final = 14 * 24 * 3600
"""How long the checkpoint of an interrupted training is kept, s."""


def checkpoints_of(plan: Plan, material: Material, base_digest: str | None) -> CheckpointFile:
    """Return where the checkpoints of a training are; those of another one for the same bundle are not taken.

    Unless the request asks to go on, what an interruption left is removed; so is what is older than ``KEPT_S``.
    """
    folder = default_state_folder() / "checkpoints"
    _forget_old(folder)
    place = hashlib.sha256(str(plan.request.out.absolute()).encode()).hexdigest()[:16]
    patches = [
        (patch.slide, patch.center_px, counts.tolist())
        for split in (material.training, material.validation)
        for patch, counts in zip(split.patches, split.counts, strict=True)
    ]
    slides = [one.slide.slide.fingerprint for one in material.opened]
    kept = CheckpointFile(folder / place, f"{identity_of(plan, material.spec)}\n{base_digest}\n{slides}\n{patches}")
    if not plan.request.resume:
        kept.clear()
    return kept


def _forget_old(folder: Path) -> None:
    for one in folder.glob("*"):
        if time.time() - one.stat().st_mtime > KEPT_S:
            shutil.rmtree(one, ignore_errors=True)
