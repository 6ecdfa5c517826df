"""The verbs of a new machine: demo and doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qpbridge.cli import options
from qpbridge.cli.output import escaped, output_console
from qpbridge.cli.running import ExitCode, carry_out
from qpbridge.core.progress import Progress

if TYPE_CHECKING:
    from qpbridge.demo.running import DemoReport
    from qpbridge.workflows.doctor import DoctorReport

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Receives slide, project, model, results, report.")
    ] = Path("qpbridge-demo"),
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Make a slide, train on it, predict, report.

    Writes slide, QuPath project, annotations, model, results and an HTML report.
    """

    def work(progress: Progress) -> DemoReport:
        from qpbridge.demo import running

        return running.run_demo(running.DemoRequest(folder=folder, device=device, seed=seed), progress)

    carry_out(work, as_json=as_json, debug=debug)


def doctor(as_json: options.AsJson = False, debug: options.Debug = False) -> None:
    """Check this machine, and say how to mend it."""

    def work(progress: Progress) -> DoctorReport:
        from qpbridge.workflows import doctor as workflow

        return workflow.diagnose(progress)

    def rate(report: DoctorReport) -> ExitCode:
        return ExitCode.DONE if report.is_healthy else ExitCode.FAILED

    carry_out(work, as_json=as_json, debug=debug, show=_show_checks, rate=rate)


def _show_checks(report: DoctorReport) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for check in report.checks:
        status = check.status.value
        table.add_row(f"[{_COLORS[status]}]{status}[/]", escaped(check.name), escaped(check.detail))
        if check.remedy is not None:
            table.add_row("", "", escaped(f"-> {check.remedy}"))
    output_console().print(table)
