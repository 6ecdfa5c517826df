"""Scores as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qpbridge.evaluation import instances
from qpbridge.evaluation.confusion import ConfusionMatrix

NO_PREDICTION = "(none)"
"""Name of the column of labelled pixels without a prediction."""


def to_dict(matrix: ConfusionMatrix, pixel_area_mm2: float | None = None) -> dict[str, Any]:
    """Return all scores of a confusion matrix, ready for JSON: undefined scores are None.

    Parameters
    ----------
    matrix : ConfusionMatrix
        Of one entry, or pooled.
    pixel_area_mm2 : float or None
        Area of one counted pixel; with it the labelled areas are told as well.
    """
    return {
        "mean_iou": _number(matrix.mean_iou),
        "mean_recall": _number(matrix.mean_recall),
        "mean_precision": _number(matrix.mean_precision),
        "pixel_accuracy": _number(matrix.pixel_accuracy),
        "frequency_weighted_iou": _number(matrix.frequency_weighted_iou),
        "labelled_px": matrix.labelled_px,
        "labelled_mm2": None if pixel_area_mm2 is None else matrix.labelled_px * pixel_area_mm2,
        "classes": {
            name: {
                "iou": _number(matrix.iou[label]),
                "recall": _number(matrix.recall[label]),
                "precision": _number(matrix.precision[label]),
                "true_px": int(matrix.true_px[label]),
                "predicted_px": int(matrix.predicted_px[label]),
                "true_mm2": None if pixel_area_mm2 is None else int(matrix.true_px[label]) * pixel_area_mm2,
            }
            for label, name in enumerate(matrix.class_names)
        },
        "confusion": {
            "columns": [*matrix.class_names, NO_PREDICTION],
            "rows": dict(zip(matrix.class_names, matrix.counts.tolist(), strict=True)),
        },
    }


def instances_to_dict(scores: instances.InstanceScores, verdicts: Mapping[str, int]) -> dict[str, Any]:
    """Return all scores of single objects, ready for JSON: undefined scores are None.

    Parameters
    ----------
    scores : InstanceScores
        Of one entry, or pooled.
    verdicts : mapping of str to int
        What became of how many objects.
    """
    counts = {"annotated": scores.true_objects, "predicted": scores.predicted_objects, "matched": scores.matched}
    return {**ratios(instances.to_dict(scores)), "counts": {**counts, **verdicts}}


def ratios(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Return scores ready for JSON: undefined ones are None."""
    return {name: _number(value) for name, value in scores.items()}


def _number(score: float) -> float | None:
    return float(score) if math.isfinite(score) else None
