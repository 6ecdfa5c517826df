"""How the reports of the workflows are shown to a reader, and what they mean for the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from qpbridge.cli.output import fields_table, output_console, print_document, records_table
from qpbridge.cli.running import AS_IT_IS, Document, ExitCode, Telling, rate_batch


def show_training(report: Document) -> None:
    """Print what training gave."""
    facts = {
        "model": report["bundle"],
        "trained on": ", ".join(report["training_entries"]),
        "judged by": ", ".join(report["validation_entries"]),
        "patches": f"{report['training_patches']} to learn from, {report['validation_patches']} held back",
        "best epoch": f"{report['best_epoch']} of {report['epochs']}",
        "mean IoU": report["mean_iou"],
        "seconds": report["duration_s"],
    }
    output_console().print(fields_table(facts))
    scores = [{"class": name, "IoU held back": iou} for name, iou in report["class_iou"].items()]
    _print_tables({"Classes": scores, "Failures": _failures(report)})


def show_prediction(report: Document) -> None:
    """Print what was predicted."""
    output_console().print(fields_table({"results in": report["out"]}))
    slides = [
        {"slide": one["name"], "file": PurePath(one["file"]).name, "regions": one["objects"], "µm/px": one["mpp_x"]}
        | {"from": one["mpp_source"], "seconds": one["duration_s"]}
        for one in report["slides"]
    ]
    areas = [
        {"slide": one["name"], "class": part["name"], "regions": part["count"], "mm²": part["area_mm2"]}
        | {"% of tissue": None if part["share_of_tissue"] is None else 100 * part["share_of_tissue"]}
        for one in report["slides"]
        for part in one["classes"]
    ]
    _print_tables({"Slides": slides, "Areas": areas, "Failures": _failures(report)})


def show_evaluation(report: Document) -> None:
    """Print scores."""
    means = {"iou": report["mean_iou"], "recall": report["mean_recall"], "precision": report["mean_precision"]}
    rows = {**report["classes"], "mean": {**means, "true_px": report["labelled_px"]}}
    scores = [_score(name, one) for name, one in rows.items()]
    entries = [
        {"slide": one["name"], "mean IoU": one["mean_iou"], "labelled mm²": one["labelled_mm2"]}
        | {"trained on": one["was_trained_on"]}
        for one in report["entries"]
    ]
    _print_tables({"Scores": scores, "Slides": entries, "Failures": _failures(report)})
    if report["unlabelled"]:
        output_console().print(f"without annotations: {', '.join(report['unlabelled'])}", markup=False)


def show_inspection(report: Document) -> None:
    """Print the preflight."""
    entries = report["entries"]
    output_console().print(fields_table({"project": report["project"], "QuPath": report["qupath_version"]}))
    _print_tables(
        {
            "Entries": [_entry(entry) for entry in entries],
            "Objects": [_class(entry, one) for entry in entries for one in entry["classes"]],
            "Annotations to look at": [_trouble(entry, one) for entry in entries for one in entry["troubles"]],
            "Problems": [_problem(entry, one) for entry in entries for one in entry["problems"]],
        }
    )
    for names in report["similar_classes"]:
        listed = ", ".join(f"'{name}'" for name in names)
        text = f"class names that differ only by case or blanks: {listed}; are they one class?"
        output_console().print(text, markup=False)
    _show_preview(report["training"])


def rate_training(report: Document) -> ExitCode:
    """Return what a model means that was trained without some of the entries."""
    return rate_batch(report["failures"], [report])


def rate_inspection(report: Document) -> ExitCode:
    """Return what entries mean that cannot be used."""
    broken = [entry for entry in report["entries"] if entry["problems"]]
    return rate_batch(broken, [entry for entry in report["entries"] if not entry["problems"]])


TELLING: Final[Mapping[str, Telling]] = {
    "train": Telling(show=show_training, rate=rate_training),
    "predict": Telling(show=show_prediction, rate=lambda report: rate_batch(report["failures"], report["slides"])),
    "evaluate": Telling(show=show_evaluation, rate=lambda report: rate_batch(report["failures"], report["entries"])),
    "export": Telling(show=print_document, rate=lambda report: rate_batch(report["failures"], report["entries"])),
    "inspect": Telling(show=show_inspection, rate=rate_inspection),
    "export_model": AS_IT_IS,
    "predict_region": AS_IT_IS,
}
"""By the kind of work."""


def _print_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    for title, rows in tables.items():
        if rows:
            output_console().print(records_table(title, rows))


def _failures(report: Document) -> list[dict[str, Any]]:
    return [{"failed": one["entry"], "reason": one["reason"], "message": one["message"]} for one in report["failures"]]


def _score(name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    shares = {"IoU": scores["iou"], "recall": scores["recall"], "precision": scores["precision"]}
    told = {title: "-" if share is None else f"{share:.3f}" for title, share in shares.items()}
    return {"class": name, **told, "labelled px": f"{scores['true_px']:,}"}


def _show_preview(training: Mapping[str, Any]) -> None:
    if training["obstacle"] is not None:
        output_console().print(f"training would refuse: {training['obstacle']}", markup=False)
        return
    rows = [
        {"class": one["name"], "entries": one["entries"], "annotations": one["annotations"], "mm²": one["area_mm2"]}
        for one in training["classes"]
    ]
    _print_tables({f"Training would use entries {', '.join(training['entries'])}": rows})


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    image = entry["image"]
    calibration = image["calibration"]
    return {
        "id": entry["id"],
        "name": entry["name"],
        "size px": None if image["width_px"] is None else f"{image['width_px']} x {image['height_px']}",
        "µm/px": None if calibration is None else f"{calibration['mpp_x']:.5g} x {calibration['mpp_y']:.5g}",
        "from": image["calibration_source"],
        "slide": image["slide"],
    }


def _class(entry: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "entry": entry["id"],
        "class": one["name"],
        "objects": one["objects"],
        "annotations": one["annotations"],
        "mm²": one["area_mm2"],
        "": "ignored" if one["is_ignored"] else "",
    }


def _trouble(entry: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    return {"entry": entry["id"], "count": one["count"], "what": one["what"], "e.g.": one["examples"]}


def _problem(entry: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    return {"entry": entry["id"], "reason": one["reason"], "message": one["message"]}
