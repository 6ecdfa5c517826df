"""How the preflight is shown: what is fine in few lines, what is not with what to do. Everything is in ``--json``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from qpbridge.cli.output import fields_table, output_console, print_tables
from qpbridge.cli.running import Document

ROWS_MAX: Final = 40
"""Lines of a table that a reader still reads."""

NOT_FOUND: Final = "SLIDE_NOT_FOUND"

_KIND_NAMES: Final = {"tmaCore": "TMA core"}
_BROKEN: Final = {NOT_FOUND: "not found", "UNSUPPORTED_IMAGE": "not supported", "SLIDE_MISMATCH": "another slide"}


def show_inspection(report: Document) -> None:
    """Print the preflight."""
    entries = report["entries"]
    output_console().print(fields_table(_summary(report)))
    print_tables(
        {
            "Entries": _shortened([_entry(entry) for entry in entries]),
            "Classes": _shortened(_classes(entries)),
            "Notes and tags": _shortened(list(_written(entries))),
            "Objects to look at": _shortened(_troubles(entries)),
            "Slides to look at": _shortened([_note(entry, text) for entry in entries for text in entry["notes"]]),
            "Problems": _shortened(list(_problems(entries))),
        }
    )
    _show_missing(report["missing"])
    for names in report["similar_classes"]:
        listed = ", ".join(f"'{name}'" for name in names)
        _say(f"Class names that differ only by case or blanks: {listed}; are they one class?")
    for orphan in report["orphans"]:
        _say(f"{orphan['folder']} holds data ({orphan['bytes']:,} bytes) of no entry: its image left the project")
    _show_preview(report["training"])


def _summary(report: Document) -> dict[str, Any]:
    entries = report["entries"]
    places = Counter(
        (str(PurePath(image["slide"]).parent), image["found_by"] or "cannot be used")
        for image in (entry["image"] for entry in entries)
        if image["slide"] is not None
    )
    broken = sum(bool(entry["problems"]) for entry in entries)
    slides = [f"{count} in {folder} ({found_by})" for (folder, found_by), count in places.items()] or ["none found"]
    return {
        "project": report["project"],
        "QuPath": report["qupath_version"],
        "entries": f"{len(entries)}, of which {broken} cannot be used" if broken else str(len(entries)),
        "slides": "\n".join(slides[:ROWS_MAX]),
        "ignored classes": ", ".join(report["ignored_classes"]) or None,
    }


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    image = entry["image"]
    areas = [one["area_mm2"] for one in entry["classes"] if one["area_mm2"] is not None]
    return {
        "id": entry["id"],
        "name": entry["name"],
        "slide": image["found_by"] or _state(entry),
        "size px": None if image["width_px"] is None else f"{image['width_px']} x {image['height_px']}",
        "µm/px": _pixel_size(image),
        "objects": _objects(entry),
        "locked": entry["locked"] or None,
        "mm²": sum(areas) or None,
    }


def _state(entry: Mapping[str, Any]) -> str | None:
    reasons = [problem["reason"] for problem in entry["problems"]]
    return next((_BROKEN.get(reason, "not readable") for reason in reasons), None)


def _pixel_size(image: Mapping[str, Any]) -> str:
    calibration = image["calibration"]
    if calibration is None:
        return "missing"
    sizes = dict.fromkeys(f"{calibration[axis]:.4g}" for axis in ("mpp_x", "mpp_y"))
    return f"{' x '.join(sizes)} ({image['calibration_source']})"


def _objects(entry: Mapping[str, Any]) -> str:
    named = [(count, _KIND_NAMES.get(kind, kind)) for kind, count in entry["kinds"].items()]
    kinds = ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for count, name in named)
    return kinds or ("none" if entry["has_data"] else "no data")


def _classes(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    parts: defaultdict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        for one in entry["classes"]:
            parts[one["name"]].append(one)
    return [
        {
            "class": name or "(no class)",
            "entries": len(ones),
            "objects": sum(one["objects"] for one in ones),
            "annotations": sum(one["annotations"] for one in ones),
            "mm²": sum(one["area_mm2"] or 0.0 for one in ones) or None,
            "tagged": sum(one["tags"] for one in ones) or None,
            "": _use(ones[0]),
        }
        for name, ones in parts.items()
    ]


def _use(one: Mapping[str, Any]) -> str:
    if one["is_region"]:
        return "marks complete areas" if one["name"].count(": ") == 0 else "tags areas"
    return "ignored" if one["is_ignored"] else ""


def _written(entries: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for entry in entries:
        if entry["metadata"] or entry["tags"]:
            metadata = ", ".join(f"{key} = {value}" for key, value in entry["metadata"].items())
            yield {"entry": entry["id"], "metadata": metadata or None, "tags": ", ".join(entry["tags"]) or None}


def _troubles(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: defaultdict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for entry in entries:
        for one in entry["troubles"]:
            found[one["what"]].append((entry["id"], one))
    return [
        {
            "count": sum(one["count"] for _, one in ones),
            "what": what,
            "entries": _few([key for key, _ in ones]),
            "e.g.": _few(list(ones[0][1]["examples"])),
        }
        for what, ones in found.items()
    ]


def _note(entry: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {"entry": entry["id"], "note": text}


def _problems(entries: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield every problem; of the slides that were not found only the first, which tells where it was looked for."""
    lost = 0
    for entry in entries:
        for one in entry["problems"]:
            lost += one["reason"] == NOT_FOUND
            if one["reason"] != NOT_FOUND or lost == 1:
                yield {"entry": entry["id"], "reason": one["reason"], "message": one["message"]}
    if lost > 1:
        yield {
            "entry": "...",
            "reason": NOT_FOUND,
            "message": f"and {lost - 1} more slides, looked for in the same way",
        }


def _show_missing(folders: Sequence[Mapping[str, Any]]) -> None:
    for one in folders:
        _say(f"{one['slides']} slides of {one['folder']} were not found; say where it is now:")
        _say(f"  --path-map '{one['folder']}=/folder/of/the/slides'")


def _show_tags(tagged: Mapping[str, Any]) -> None:
    if tagged["obstacle"] is not None:
        _say(f"Training on tags would refuse: {tagged['obstacle']}")
    rows = [
        {"class": one["name"], "areas with it": one["present"], "areas without": one["absent"]}
        for one in tagged["classes"]
    ]
    if rows:
        print_tables({f"Tags of {tagged['areas']} areas, most about {tagged['edge_um']:.0f} µm wide": rows})


def _show_preview(training: Mapping[str, Any]) -> None:
    if training["tagged"] is not None:
        _show_tags(training["tagged"])
    if training["nuclei"]:
        _say(
            f"Training of nuclei would use {training['nuclei']} in {training['complete_mm2']:.4g} mm² of complete areas"
        )
    if training["obstacle"] is not None:
        _say(f"Training of tissue would refuse: {training['obstacle']}")
        return
    rows = [
        {"class": one["name"], "entries": one["entries"], "annotations": one["annotations"], "mm²": one["area_mm2"]}
        | {"patches": one["patches"]}
        for one in training["classes"]
    ]
    edge = f"{training['patch_px']} px of {training['patch_mpp']:g} µm"
    title = f"Training of tissue would use {training['patches']} patches of {edge}, entries {_few(training['entries'])}"
    print_tables({title: rows})


def _few(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _shortened(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) <= ROWS_MAX:
        return rows
    first, second, *others = rows[0]
    rest = {first: "...", second: f"and {len(rows) - ROWS_MAX + 1} more, see --json"}
    return [*rows[: ROWS_MAX - 1], {**rest, **dict.fromkeys(others, "")}]


def _say(text: str) -> None:
    output_console().print(text, markup=False)
