"""The verbs about networks: which families there are, what a bundle holds, and export to ONNX."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from qpbridge.cli import options
from qpbridge.cli.output import output_console, records_table
from qpbridge.cli.running import carry_out
from qpbridge.core.progress import Progress

app = typer.Typer(no_args_is_help=True, help="List networks, show one, export one to ONNX.")


@dataclass(frozen=True, slots=True)
class Document:
    """What a verb prints, as it stands."""

    content: Any

    def to_dict(self) -> Any:
        """Return the content as JSON values."""
        return self.content


@app.command(name="list")
def list_models(as_json: options.AsJson = False, debug: options.Debug = False) -> None:
    """List all networks as published."""

    def work(_: Progress) -> Document:
        from qpbridge.models.registry import listing

        return Document(listing())

    carry_out(work, as_json=as_json, debug=debug, show=_show_listing)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="FAMILY|BUNDLE", help="A family, or the folder of a bundle.")],
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Show a family's settings, or what a bundle is and where it comes from."""

    def work(_: Progress) -> Document:
        return Document(_bundle(Path(name)) if Path(name).is_dir() else _family(name))

    carry_out(work, as_json=as_json, debug=debug)


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that train wrote.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.onnx", help="File to write.")],
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Export a bundle to ONNX."""

    def work(progress: Progress) -> Document:
        from qpbridge.models.bundle import load_bundle
        from qpbridge.models.onnx_export import export_onnx

        loaded = load_bundle(bundle)
        progress.raise_if_cancelled()
        export_onnx(loaded, out)
        return Document({"bundle": bundle, "digest": loaded.digest, "onnx": out, "bytes": out.stat().st_size})

    carry_out(work, as_json=as_json, debug=debug)


def _show_listing(report: Document) -> None:
    rows = [
        {
            "variant": item["variant"],
            "parameters": f"{item['parameters']:,}",
            "views": ", ".join(f"{view['name']} {view['size_px']} px at {view['mpp']} µm" for view in item["views"]),
            "heads": ", ".join(f"{head['name']} ({head['channels']})" for head in item["heads"]),
        }
        for item in report.content
    ]
    output_console().print(records_table("Networks as published", rows))


def _family(name: str) -> dict[str, Any]:
    from qpbridge.models.registry import configure, family

    chosen = family(name)
    presets = {preset: configure(name, preset, {}) for preset in chosen.presets}
    values = {preset: asdict(config) | asdict(recipe) for preset, (config, recipe) in presets.items()}
    keys = list(dict.fromkeys(key for one in values.values() for key in one))
    return {
        "family": chosen.name,
        "title": chosen.title,
        "variants": list(chosen.variants),
        "presets": list(chosen.presets),
        "settings": [{"key": key} | {preset: one[key] for preset, one in values.items()} for key in keys],
    }


def _bundle(folder: Path) -> dict[str, Any]:
    import msgspec

    from qpbridge.models.bundle import load_bundle

    bundle = load_bundle(folder)
    spec: dict[str, Any] = msgspec.to_builtins(bundle.spec)
    provenance: dict[str, Any] = msgspec.to_builtins(bundle.provenance)
    return {"bundle": folder, "digest": bundle.digest} | spec | provenance
