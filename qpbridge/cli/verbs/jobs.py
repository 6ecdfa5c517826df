"""The verbs about jobs: list, watch, cancel, undo, fetch."""

from __future__ import annotations

import contextlib
import datetime
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qpbridge.cli import options
from qpbridge.cli.output import output_console, records_table
from qpbridge.cli.running import Document, ExitCode, Telling, carry_out
from qpbridge.cli.verb import Verb, verb
from qpbridge.cli.verbs.reports import TELLING
from qpbridge.cli.working import client_of, working
from qpbridge.core.progress import Progress
from qpbridge.errors import ServerNotRunningError
from qpbridge.workflows.entries.naming import results_folder
from qpbridge.workflows.requests import UndoRequest

if TYPE_CHECKING:
    from qpbridge.jobs.records import Job, JobState
    from qpbridge.jobs.store.journal import Journal

app = typer.Typer(no_args_is_help=True, help="List jobs, watch one, cancel one, undo one, fetch its files.")

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id, as jobs list tells it.", show_default=False)]


@app.command(name="list", cls=Verb)
@verb
def list_jobs(
    states: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE[,STATE...]", help="Only these, e.g. queued,running; default: all."),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND[,KIND...]", help="Only these, e.g. train,predict; default: all."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Tell so many, the newest.")] = 50,
    *,
    place: options.Place,
    output: options.Output,
) -> None:
    """List jobs, the newest first.

    Those of the server; without one, those that this machine's journal holds.
    """

    def work(_: Progress) -> Document:
        wanted = _states(options.names(states) or ())
        found = _found(place, wanted, options.names(kinds) or ())
        return {"jobs": [_told(job) for job in itertools.islice(found, limit)]}

    carry_out(work, output, Telling(show=_show_jobs))


@app.command(cls=Verb)
@verb
def watch(job_id: JobId, *, place: options.Place, output: options.Output) -> None:
    """Follow a job to its end, and print what it gave.

    Ctrl-C ends the watching; the job goes on.
    """

    def work(progress: Progress) -> Document:
        with client_of(place) as client:
            job = client.wait(job_id, progress)
        found.append(TELLING[job.kind])
        return job.result or {}

    def show(report: Document) -> None:
        found[0].show(report)

    def rate(report: Document) -> ExitCode:
        return found[0].rate(report)

    found: list[Telling] = []
    carry_out(work, output, Telling(show=show, rate=rate))


@app.command(cls=Verb)
@verb
def cancel(job_id: JobId, *, place: options.Place, output: options.Output) -> None:
    """Stop a job."""

    def work(_: Progress) -> Document:
        with client_of(place) as client:
            return _told(client.cancel(job_id))

    def rate(job: Document) -> ExitCode:
        return ExitCode.DONE if job["state"] == "cancelled" else ExitCode.FAILED

    carry_out(work, output, Telling(show=_show_cancelled, rate=rate))


@app.command(cls=Verb)
@verb
def undo(
    job_id: JobId,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of its results; default: where the job wrote them."),
    ] = None,
    *,
    place: options.Place,
    output: options.Output,
) -> None:
    """Take a prediction back.

    What it added is removed and what it replaced comes back. What was drawn, edited or locked since stays.
    """

    def request() -> UndoRequest:
        if out is not None or place.server is not None:
            return UndoRequest(job_id=job_id, out=out)
        with _journal() as journal:
            return UndoRequest(job_id=job_id, out=results_folder(journal.get(job_id)))

    carry_out(working(request, place), output, TELLING["undo"])


@app.command(cls=Verb)
@verb
def fetch(
    job_id: JobId,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files, on this machine.")],
    entries: options.Entries = None,
    *,
    place: options.Place,
    output: options.Output,
) -> None:
    """Copy the files of a prediction or an export from the server."""

    def work(_: Progress) -> Document:
        with client_of(place) as client:
            return {
                "out": str(out),
                "files": [path.name for path in client.download(job_id, out, options.names(entries))],
            }

    carry_out(work, output)


def _found(place: options.Place, states: Sequence[JobState], kinds: Sequence[str]) -> Iterator[Job]:
    try:
        with client_of(place) as client:
            yield from client.jobs(states, kinds)
    except ServerNotRunningError:
        if place.server is not None:
            raise
        yield from _noted(states, kinds)


def _noted(states: Sequence[JobState], kinds: Sequence[str]) -> Iterator[Job]:
    """Yield the jobs of the journal, for lack of a server."""
    token, is_last = "", False
    with _journal() as journal:
        while not is_last:
            page = journal.page(0, token, states, kinds)
            yield from page.jobs
            token = page.next_page_token
            is_last = not token


def _journal() -> contextlib.closing[Journal]:
    from qpbridge.jobs.store.journal import Journal
    from qpbridge.jobs.store.state_folder import StateFolder, default_state_folder

    return contextlib.closing(Journal(StateFolder(default_state_folder()).journal))


def _states(names: Sequence[str]) -> list[JobState]:
    from qpbridge.errors import UnknownNameError
    from qpbridge.jobs.records import JobState

    for name in names:
        if name not in set(JobState):
            raise UnknownNameError("state", name, [state.value for state in JobState])
    return [JobState(name) for name in names]


def _told(job: Job) -> dict[str, Any]:
    """Return a job as JSON values, without what it was asked and what it gave."""
    values = {name: value for name, value in asdict(job).items() if name not in {"request", "result"}}
    times = {name: value.isoformat() for name, value in values.items() if isinstance(value, datetime.datetime)}
    return {**values, **times, "state": job.state.value}


def _show_jobs(document: Document) -> None:
    rows = [
        {
            "job": job["id"],
            "kind": job["kind"],
            "on": job["title"],
            "state": job["state"],
            "device": job["device"],
            "for": job["client"],
            "asked": job["created"][:16].replace("T", " "),
            "": _detail(job),
        }
        for job in document["jobs"]
    ]
    if rows:
        output_console().print(records_table("Jobs", rows))
    else:
        output_console().print("no jobs")


def _detail(job: Document) -> str:
    if job["error"] is not None:
        return str(job["error"]["reason"])
    if job["state"] != "running" or job["progress"] is None:
        return ""
    now = job["progress"]
    return f"{now['stage']} {now['done']}/{now['total']}" if now["total"] else f"{now['stage']} {now['done']}"


def _show_cancelled(job: Document) -> None:
    if job["state"] == "cancelled":
        output_console().print(f"cancelled {job['id']} ({job['kind']} on {job['title']})", markup=False)
    else:
        output_console().print(f"job {job['id']} had ended already: {job['state']}", markup=False)
