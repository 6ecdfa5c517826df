"""How training went, epoch by epoch: as a table and as a picture."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

CLASS_IOU: Final = "iou "
"""Begins the name of a class's IoU; the name of the class follows."""

_DARKENED: Final = 0.85
"""Part of a class's color that its line has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """Figures of one epoch.

    Parameters
    ----------
    epoch : int
        From 1 on.
    learning_rate : float
        At the end of the epoch.
    training_loss, validation_loss : float
        Means over samples.
    mean_iou : float
        Over the classes present in the validation labels.
    class_iou : tuple of float
        In the order of the classes; NaN for a class without validation labels.
    duration_s : float
        Wall time, s.
    stage : int
        Number of the part of training, from 1 on; what IoU is the IoU of is up to it.
    """

    epoch: int
    learning_rate: float
    training_loss: float
    validation_loss: float
    mean_iou: float
    class_iou: tuple[float, ...]
    duration_s: float
    stage: int = 1

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return a record from JSON values, where what is not a number is None."""
        plain: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
        plain["class_iou"] = tuple(math.nan if iou is None else iou for iou in values["class_iou"])
        return cls(**plain)


def told_numbers(record: EpochRecord, class_names: Sequence[str]) -> dict[str, float]:
    """Return what progress tells of an epoch, until the next one has ended; what is not defined is left out.

    Keys are ``epoch, validation_loss, mean_iou`` and, for each class, ``iou NAME``.
    """
    numbers = {
        "epoch": float(record.epoch),
        "validation_loss": record.validation_loss,
        "mean_iou": record.mean_iou,
        **{f"{CLASS_IOU}{name}": iou for name, iou in zip(class_names, record.class_iou, strict=True)},
    }
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def curves_rows(records: Sequence[EpochRecord], class_names: Sequence[str]) -> list[dict[str, float]]:
    """Return one flat row an epoch, keys ``epoch, learning_rate, ..., iou Tumor, ...``; ``stage`` if there are two."""
    is_staged = any(record.stage > 1 for record in records)
    return [
        {
            **({"stage": record.stage} if is_staged else {}),
            "epoch": record.epoch,
            "learning_rate": record.learning_rate,
            "training_loss": round(record.training_loss, 6),
            "validation_loss": round(record.validation_loss, 6),
            "mean_iou": round(record.mean_iou, 6),
            **{f"{CLASS_IOU}{name}": round(iou, 6) for name, iou in zip(class_names, record.class_iou, strict=True)},
            "duration_s": round(record.duration_s, 3),
        }
        for record in records
    ]


def curves_svg(rows: Sequence[dict[str, float]], colors: Mapping[str, tuple[int, int, int]]) -> str:
    """Draw losses and IoU over the epochs as an SVG picture; a line parts the stages of training.

    Parameters
    ----------
    rows : sequence of dict
        Of ``curves_rows``.
    colors : mapping of str to (int, int, int)
        Of the classes, as QuPath shows them.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "qpbridge", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        losses, ious = figure.subplots(1, 2)
        epochs = [row["epoch"] for row in rows]
        for key in ("training_loss", "validation_loss"):
            losses.plot(epochs, [row[key] for row in rows], label=key.replace("_", " "))
        for key in [key for key in rows[0] if key.startswith(CLASS_IOU)]:
            name = key.removeprefix(CLASS_IOU)
            ious.plot(epochs, [row[key] for row in rows], label=name, linewidth=1.5, color=_on_white(colors[name]))
        ious.plot(epochs, [row["mean_iou"] for row in rows], label="mean", color="black", linestyle="--")
        starts = [one["epoch"] for before, one in pairwise(rows) if before.get("stage") != one.get("stage")]
        for axes, title in ((losses, "loss"), (ious, "validation IoU")):
            for start in starts:
                axes.axvline(start - 0.5, color="gray", linewidth=0.8)
            axes.set(title=title, xlabel="epoch")
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        picture = io.StringIO()
        with warnings.catch_warnings():
            # Names of classes may be in any script; the reader's own fonts show them.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(picture, format="svg", metadata={"Date": None})
    text = picture.getvalue()
    return text[text.index("<svg") :]


def _on_white(color_rgb: tuple[int, int, int]) -> tuple[float, ...]:
    """Return a color so dark that its line can be seen, as matplotlib writes it."""
    return tuple(_DARKENED * part / 255 for part in color_rgb)
