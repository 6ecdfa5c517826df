"""The verbs about networks: which families there are, what a bundle holds, and export to ONNX."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from qpbridge.cli import options
from qpbridge.cli.output import output_console, print_document, records_table
from qpbridge.cli.running import Document, Telling, carry_out
from qpbridge.cli.verb import Verb, verb
from qpbridge.cli.verbs.reports import TELLING
from qpbridge.cli.working import client_of, working
from qpbridge.core.progress import Progress
from qpbridge.workflows.requests import ExportModelRequest

app = typer.Typer(no_args_is_help=True, help="List networks, show one, export one to ONNX.")


@app.command(name="list", cls=Verb)
@verb
def list_models(
    is_trained: Annotated[
        bool, typer.Option("--trained", help="The models that a server holds instead; asks this machine's server.")
    ] = False,
    *,
    place: options.Place,
    output: options.Output,
) -> None:
    """List all networks as published."""

    def work(_: Progress) -> Document:
        if is_trained:
            with client_of(place) as client:
                return list(client.models())
        if place.server is not None:
            with client_of(place) as client:
                return [_variant(family, one) for family in client.families() for one in family["variants"]]
        from qpbridge.models.registry import listing

        return listing()

    carry_out(work, output, Telling(show=_show_trained if is_trained else _show_published))


@app.command(cls=Verb)
@verb
def show(
    name: Annotated[str, typer.Argument(metavar="FAMILY|BUNDLE", help="A family, or the folder of a bundle.")],
    *,
    place: options.Place,
    output: options.Output,
) -> None:
    """Show a family's settings, or what a bundle is and where it comes from."""

    def work(_: Progress) -> Document:
        if place.server is None:
            return _bundle(Path(name)) if Path(name).is_dir() else _family(name)
        with client_of(place) as client:
            families = {family["name"]: family for family in client.families()}
            if name in families:
                return _family_told(families[name], _values)
            is_here = client.access.is_local and Path(name).is_dir()
            return _model_told(client.model(str(Path(name).absolute()) if is_here else name))

    carry_out(work, output, Telling(show=print_document))


@app.command(cls=Verb)
@verb
def export(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that train wrote.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.onnx", help="File to write.")],
    *,
    place: options.Place,
    output: options.Output,
) -> None:
    """Export a bundle to ONNX."""
    carry_out(working(lambda: ExportModelRequest(model=bundle, out=out), place), output, TELLING["export_model"])


def _show_published(listed: Document) -> None:
    rows = [
        {
            "variant": item["variant"],
            "parameters": f"{item['parameters']:,}",
            "views": ", ".join(f"{view['name']} {view['size_px']} px at {view['mpp']} µm" for view in item["views"]),
            "heads": ", ".join(f"{head['name']} ({head['channels']})" for head in item["heads"]),
        }
        for item in listed
    ]
    output_console().print(records_table("Networks as published", rows))


def _show_trained(listed: Document) -> None:
    rows = [
        {
            "model": item["name"],
            "variant": item["variant"],
            "classes": ", ".join(one["name"] for one in item["classes"]),
            "from": item["provenance"]["project"],
            "written": item["provenance"]["created"][:16].replace("T", " "),
        }
        for item in listed
    ]
    output_console().print(records_table("Models of the server", rows) if rows else "the server has no models yet")


def _bundle(folder: Path) -> dict[str, Any]:
    import msgspec

    from qpbridge.models.bundle import load_bundle

    bundle = load_bundle(folder)
    spec: dict[str, Any] = msgspec.to_builtins(bundle.spec)
    provenance: dict[str, Any] = msgspec.to_builtins(bundle.provenance)
    return {"bundle": str(folder), "digest": bundle.digest} | spec | provenance


def _variant(family: Document, variant: Document) -> dict[str, Any]:
    return {"family": family["name"], **variant}


def _family(name: str) -> dict[str, Any]:
    from qpbridge.models.registry import described, family

    return _family_told(described(family(name)), dict)


def _family_told(family: Document, read: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Return a family for a reader; ``read`` makes the values of a setting of what was told."""
    return {
        "family": family["name"],
        "title": family["title"],
        "variants": [one["variant"].removeprefix(f"{family['name']}-") for one in family["variants"]],
        "presets": list(family["presets"]),
        "settings": [{"key": one["key"], **read(one["values"])} for one in family["settings"]],
    }


def _model_told(model: Document) -> dict[str, Any]:
    """Return what a server says of a model as ``_bundle`` tells it."""
    provenance = model["provenance"]
    views = [{"name": one["name"], "fov": {"size_px": one["size_px"], "mpp": one["mpp"]}} for one in model["views"]]
    alike = ("digest", "family", "variant", "classes", "staining")
    told = {"bundle": model["path"], **{name: model[name] for name in alike}}
    told |= {"views": views, "heads": model["heads"], "config": _values(model["config"])}
    return told | {**provenance, "recipe": _values(provenance["recipe"])}


def _values(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return settings that come as text."""
    values: dict[str, Any] = dict(texts)
    for key, text in texts.items():
        with contextlib.suppress(ValueError):
            values[key] = json.loads(text)
    return values
