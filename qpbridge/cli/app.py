"""All verbs under one name."""

from __future__ import annotations

from typing import Annotated

import typer

from qpbridge import __version__
from qpbridge.cli.verb import Verb
from qpbridge.cli.verbs import jobs, learning, machine, models, projects, serving

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich doubles the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 failed, 2 bad usage, 3 partly done (failures listed).",
)

for verb in (
    machine.demo,
    projects.inspect,
    projects.export,
    learning.train,
    learning.predict,
    learning.evaluate,
):
    app.command(cls=Verb)(verb)
app.add_typer(models.app, name="models")
app.command()(serving.serve)
app.add_typer(jobs.app, name="jobs")
app.command(cls=Verb)(machine.doctor)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"qpbridge {__version__}")
        raise typer.Exit


@app.callback()
def _qpbridge(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train and run pathology segmentation networks on QuPath projects, with results back in QuPath."""
