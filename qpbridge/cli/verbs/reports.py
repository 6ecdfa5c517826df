"""How the reports of the workflows are shown to a reader, and what they mean for the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from qpbridge.cli.output import Told, fields_table, output_console, print_document, print_tables
from qpbridge.cli.running import AS_IT_IS, Document, ExitCode, Telling, rate_batch
from qpbridge.cli.verbs.inspection import show_inspection


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
    print_tables({"Classes": scores, "Changed by this round": _progression(report), "Failures": _failures(report)})


def _progression(report: Document) -> list[dict[str, Any]]:
    return [
        {"class": one["name"], "mm² before": _mm2(one["area_before_um2"]), "mm² now": _mm2(one["area_um2"])}
        | {"IoU before": one["iou_before"], "IoU now": one["iou"]}
        for one in (report["progression"] or {"classes": []})["classes"]
    ]


def _mm2(area_um2: float | None) -> float | None:
    return None if area_um2 is None else area_um2 / 1e6


def show_prediction(report: Document) -> None:
    """Print what was predicted."""
    undoing = {"undone by": f"qpbridge jobs undo {report['job_id']}"} if report["slides"] else {}
    project = {} if report.get("project") is None else {"QuPath project in": report["project"]}
    output_console().print(fields_table({"results in": report["out"], **undoing, **project}))
    has_suggestions = any(one["suggestions"] for one in report["slides"])
    is_reconciled = any(one["kept"] or one["dropped"] for one in report["slides"])
    slides = [
        {"slide": one["name"], "file": PurePath(one["file"]).name, "regions": one["objects"], "µm/px": one["mpp_x"]}
        | {"from": one["mpp_source"], "seconds": one["duration_s"]}
        | ({"yours": one["kept"], "left out": one["dropped"]} if is_reconciled else {})
        | ({"to review": one["suggestions"]} if has_suggestions else {})
        for one in report["slides"]
    ]
    put = [
        {"slide": one["name"], "added": back["added"], "replaced": back["removed"], "yours": back["kept"]}
        | {"in the project": "yes" if back["is_written"] else f"no: {back['reason']}"}
        for one in report["slides"]
        if (back := one.get("write_back")) is not None
    ]
    areas = [
        {"slide": one["name"], "class": part["name"], "regions": part["count"], "mm²": part["area_mm2"]}
        | {"% of tissue": None if part["share_of_tissue"] is None else 100 * part["share_of_tissue"]}
        for one in report["slides"]
        for part in one["classes"]
    ]
    print_tables({"Slides": slides, "Project": put, "Areas": areas, "Failures": _failures(report)})


def show_undoing(report: Document) -> None:
    """Print what undoing changed."""
    output_console().print(fields_table({"undone": f"job {report['job_id']}", "results in": report["out"]}))
    slides = [
        {"slide": one["stem"], "removed": one["removed"], "back": one["restored"], "kept": one["kept"]}
        | {"not back": one["dropped"]}
        for one in report["slides"]
    ]
    print_tables({"Slides": slides, "Failures": _failures(report)})


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
    print_tables({"Scores": scores, **_nuclei_tables(report), "Slides": entries, "Failures": _failures(report)})
    if report["unlabelled"]:
        output_console().print(f"without annotations: {', '.join(report['unlabelled'])}", markup=False)


def _nuclei_tables(report: Document) -> dict[str, list[dict[str, Any]]]:
    """Return what single nuclei scored, and what became of them; nothing where tissue was predicted."""
    if report["nuclei"] is None:
        return {}
    rows = {one["name"]: one["nuclei"] for one in report["entries"]}
    rows |= {"mean of slides": report["nuclei_mean"], "all nuclei": report["nuclei"]}
    scores = [{"nuclei of": name, **{title: one[key] for title, key in _NUCLEI.items()}} for name, one in rows.items()]
    counted = {name: one["counts"] for name, one in rows.items() if one["counts"] is not None}
    return {"Nuclei": scores, "Counts": [{"nuclei of": name, **counts} for name, counts in counted.items()]}


_NUCLEI: Final = {"AJI": "aji", "Dice": "dice", "PQ": "pq", "SQ": "sq", "DQ": "dq", "F1": "f1"}


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
    "undo": Telling(show=show_undoing, rate=lambda report: rate_batch(report["failures"], report["slides"])),
    "export_model": AS_IT_IS,
    "predict_region": AS_IT_IS,
}
"""By the kind of work."""


def _failures(report: Document) -> list[dict[str, Any]]:
    told = Told()
    return [
        {"failed": one["entry"], "reason": one["reason"], "message": told.tell(one["message"])}
        for one in report["failures"]
    ]


def _score(name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    shares = {"IoU": scores["iou"], "recall": scores["recall"], "precision": scores["precision"]}
    told = {title: "-" if share is None else f"{share:.3f}" for title, share in shares.items()}
    return {"class": name, **told, "labelled px": f"{scores['true_px']:,}"}
