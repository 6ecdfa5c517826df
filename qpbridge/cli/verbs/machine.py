"""The verbs of a new machine: demo and doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qpbridge.cli import options
from qpbridge.cli.output import escaped, output_console
from qpbridge.cli.running import Document, ExitCode, Telling, carry_out
from qpbridge.cli.verb import verb
from qpbridge.cli.working import client_of
from qpbridge.core.progress import Progress

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


@verb
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Receives slide, project, model, results, report.")
    ] = Path("qpbridge-demo"),
    project: Annotated[
        Path | None,
        typer.Option("--project", metavar="PROJECT", help="Your own project, in place of a slide made for it."),
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    *,
    place: options.Place,
    output: options.Output,
) -> None:
    """Make a slide, train on it, predict, report; through a server.

    Writes slide, QuPath project, annotations, model, results and an HTML report. A server is started for it unless
    --server names one on this machine.
    """

    def work(progress: Progress) -> Document:
        from qpbridge.demo.running import DemoRequest, run_demo

        request = DemoRequest(folder=folder, device=device, seed=seed, project=project)
        if place.server is None:
            return run_demo(request, progress).to_dict()
        with client_of(place) as client:
            return run_demo(request, progress, client).to_dict()

    carry_out(work, output)


@verb
def doctor(*, place: options.Place, output: options.Output) -> None:
    """Check this machine and its server, and say how to mend them."""

    def work(progress: Progress) -> Document:
        from qpbridge.cli.checkup import check_server
        from qpbridge.workflows.doctor import DoctorReport, diagnose

        checks = check_server(client_of(place), is_wanted=place.server is not None)
        return DoctorReport(checks=(*diagnose(progress).checks, *checks)).to_dict()

    def rate(report: Document) -> ExitCode:
        return ExitCode.DONE if report["is_healthy"] else ExitCode.FAILED

    carry_out(work, output, Telling(show=_show_checks, rate=rate))


def _show_checks(report: Document) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for check in report["checks"]:
        status = check["status"]
        table.add_row(f"[{_COLORS[status]}]{status}[/]", escaped(check["name"]), escaped(check["detail"]))
        if check["remedy"] is not None:
            table.add_row("", "", escaped(f"-> {check['remedy']}"))
    output_console().print(table)
