"""The model card: what a person must know before trusting a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields

from qpbridge.models.spec import ModelSpec, Provenance, SplitMetrics

_INTENDED_USE = """\
Made to segment images stained and scanned like those it was trained on, for research, with a person looking at the
result. It is no medical device.

- It knows the classes listed here and no others: tissue of another kind gets the class that it resembles most.
- Stains, scanners, organs and artifacts that the training images do not show may be segmented wrongly with high
  probability.
- Metrics count annotated pixels only. What nobody annotated, difficult places among it, was not judged.
- Metrics of the split that chose the weights are more favorable than those of new images."""


def model_card(spec: ModelSpec, provenance: Provenance, digest: str) -> str:
    """Return the card of a model as Markdown.

    Parameters
    ----------
    spec : ModelSpec
        What the model is.
    provenance : Provenance
        Where it comes from.
    digest : str
        SHA-256 of its weights.
    """
    names = ", ".join(item.name for item in spec.classes)
    sections = {
        f"{spec.family}-{spec.variant}: {names}": f"Weights SHA-256 `{digest}`, written {provenance.created}.",
        "Intended use and limits": _INTENDED_USE,
        "Classes": _classes(spec, provenance),
        "Input": _input(spec),
        "Data": _data(provenance),
        "Metrics": _metrics(provenance.metrics),
        "Training": _training(provenance),
    }
    return "\n".join(f"{'##' if i else '#'} {title}\n\n{text}\n" for i, (title, text) in enumerate(sections.items()))


def _classes(spec: ModelSpec, provenance: Provenance) -> str:
    areas_um2 = provenance.annotated_area_um2
    rows = [
        (label, item.name, f"{areas_um2.get(item.name, 0.0):.0f}", "yes" if item.is_written else "no")
        for label, item in enumerate(spec.classes)
    ]
    return _table(("label", "class", "annotated area, µm²", "given back as objects"), rows)


def _input(spec: ModelSpec) -> str:
    rows = [(view.name, view.fov.size_px, f"{view.fov.mpp:g}", f"{view.fov.extent_um:g}") for view in spec.views]
    views = _table(("view", "edge, px", "pixel size, µm/px", "extent, µm"), rows)
    if spec.staining is None:
        return views
    return f"{views}\n\nEvery slide is first given the stains of one that was learnt from ({spec.staining.method})."


def _data(provenance: Provenance) -> str:
    lines = [f"QuPath project: {provenance.project}", f"Trained on: {', '.join(provenance.training_entries)}"]
    if provenance.validation_entries:
        lines.append(f"Validated on: {', '.join(provenance.validation_entries)}")
    if set(provenance.training_entries) & set(provenance.validation_entries):
        lines.append(
            "Validated in areas held back of images that others were learnt from: no label in them was seen, but pixels"
            " around them and the stain were, so metrics are more favorable than on other images"
        )
    if provenance.parent_digest is not None:
        lines.append(f"Went on from the model with weights `{provenance.parent_digest}`")
    return "\n".join(f"- {line}" for line in lines)


def _metrics(metrics: Sequence[SplitMetrics]) -> str:
    rows = [(item.split, name, _number(value)) for item in metrics for name, value in item.values.items()]
    return _table(("split", "metric", "value"), rows) if rows else "None were computed."


def _training(provenance: Provenance) -> str:
    recipe = provenance.recipe
    rows = [("seed", provenance.seed), *provenance.versions.items()]
    rows += [(item.name, getattr(recipe, item.name)) for item in fields(recipe)]
    return _table(("setting", "value"), rows)


def _number(value: float | None) -> str:
    return "not defined" if value is None or math.isnan(value) else f"{value:.4f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
