"""Carry out one verb: progress, cancelling, output, errors and the exit code. The only catch-all stands here."""

from __future__ import annotations

import contextlib
import enum
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import typer

from qpbridge.cli.cancelling import Cancellation
from qpbridge.cli.output import print_document, print_json
from qpbridge.cli.progress import watched
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidRequestError, QpbridgeError


class ExitCode(enum.IntEnum):
    """What the shell learns."""

    DONE = 0
    FAILED = 1
    BAD_USAGE = 2
    PARTLY_DONE = 3


class Report(Protocol):
    """What every workflow returns."""

    def to_dict(self) -> Any:
        """Return the report as JSON values."""


AnyReport = TypeVar("AnyReport", bound=Report)


def always_done(_: Report) -> ExitCode:
    """Return the exit code of work that either ends well or raises."""
    return ExitCode.DONE


def print_report(report: Report) -> None:
    """Print a report for a reader."""
    print_document(report.to_dict())


def carry_out(
    work: Callable[[Progress], AnyReport],
    *,
    as_json: bool,
    debug: bool,
    show: Callable[[AnyReport], None] = print_report,
    rate: Callable[[AnyReport], ExitCode] = always_done,
) -> None:
    """Do the work of a verb, print its report and leave with the exit code.

    Parameters
    ----------
    work : callable
        Imports and calls a workflow; what it prints goes to standard error, which keeps the JSON document alone.
    as_json, debug : bool
        As in the options of that name.
    show : callable
        Prints the report for a reader.
    rate : callable
        Tells whether the report means done, partly done or failed.

    Raises
    ------
    typer.Exit
        Always, with one of ``ExitCode``.
    """
    with _errors_told(as_json, debug):
        with Cancellation() as cancellation, watched(cancellation) as progress, contextlib.redirect_stdout(sys.stderr):
            report = work(progress)
        if as_json:
            print_json(report.to_dict())
        else:
            show(report)
        raise typer.Exit(rate(report))


def rate_batch(failures: Sequence[object], finished: Sequence[object]) -> ExitCode:
    """Return the exit code of a batch: partly done where something failed and something did not."""
    if not failures:
        return ExitCode.DONE
    return ExitCode.PARTLY_DONE if finished else ExitCode.FAILED


@contextlib.contextmanager
def _errors_told(as_json: bool, debug: bool) -> Iterator[None]:
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        code, reason, message = explain(error)
        if debug:
            traceback.print_exc()
        if as_json:
            print_json({"error": {"reason": reason, "message": message}})
        typer.echo(f"error: {message} [{reason}]", err=True)
        raise typer.Exit(code) from None


def explain(error: BaseException) -> tuple[ExitCode, str, str]:
    """Return the exit code, the stable reason and the message that an error means for a user."""
    if isinstance(error, QpbridgeError):
        code = ExitCode.BAD_USAGE if isinstance(error, InvalidRequestError) else ExitCode.FAILED
        return code, error.reason, str(error)
    told = f"{type(error).__name__}: {error}".removesuffix(": ")
    for kind, reason, message in _FOREIGN_ERRORS:
        if isinstance(error, kind):
            return ExitCode.FAILED, reason, message.format(told)
    return ExitCode.FAILED, "INTERNAL", _DEFECT.format(told)


_FOREIGN_ERRORS: tuple[tuple[type[BaseException], str, str], ...] = (
    (KeyboardInterrupt, "CANCELLED", "stopped at once; what was being written is left out"),
    (MemoryError, "OUT_OF_MEMORY", "this machine has too little free memory for that; free some"),
    (ImportError, "INSTALLATION", "a library does not load ({}); run qpbridge doctor"),
    (OSError, "FILE_ACCESS", "{}; check that path, its rights and its disk"),
)
"""Errors that are neither ours nor defects: their kind, reason and message."""

_DEFECT = "a defect of qpbridge, not of your input: {}; run the same command with --debug and report the trace"
