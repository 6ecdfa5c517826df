"""Carry out one verb: progress, cancelling, output, errors and the exit code. The only catch-all stands here."""

from __future__ import annotations

import contextlib
import enum
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import typer

from qpbridge.cli.cancelling import Cancellation
from qpbridge.cli.options import Output
from qpbridge.cli.output import print_document, print_json
from qpbridge.cli.progress import watched
from qpbridge.core.processes import process_number
from qpbridge.core.progress import Progress
from qpbridge.errors import InvalidRequestError, QpbridgeError
from qpbridge.jobs.records import DEFECT, JobError


class ExitCode(enum.IntEnum):
    """What the shell learns."""

    DONE = 0
    FAILED = 1
    BAD_USAGE = 2
    PARTLY_DONE = 3


Document: TypeAlias = Any
"""JSON values, as ``--json`` prints them."""


def always_done(_: Document) -> ExitCode:
    """Return the exit code of work that either ends well or raises."""
    return ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How a document is told.

    Parameters
    ----------
    show : callable
        Prints it for a reader.
    rate : callable
        Tells whether it means done, partly done or failed.
    """

    show: Callable[[Document], None] = print_document
    rate: Callable[[Document], ExitCode] = always_done


AS_IT_IS: Final = Telling()


def carry_out(work: Callable[[Progress], Document], output: Output, telling: Telling = AS_IT_IS) -> None:
    """Do the work of a verb, print what it gave and leave with the exit code.

    Parameters
    ----------
    work : callable
        What it prints goes to standard error, which keeps the JSON document alone.
    output : Output
        What is asked for.
    telling : Telling
        How it is shown and rated.

    Raises
    ------
    typer.Exit
        Always, with one of ``ExitCode``.
    """
    with errors_told(output):
        with Cancellation() as cancellation, watched(cancellation) as progress, contextlib.redirect_stdout(sys.stderr):
            document = work(progress)
        if process_number():
            pass  # the first process speaks for all
        elif output.as_json:
            print_json(document)
        else:
            telling.show(document)
        raise typer.Exit(telling.rate(document))


def rate_batch(failures: Sequence[object], finished: Sequence[object]) -> ExitCode:
    """Return the exit code of a batch: partly done where something failed and something did not."""
    if not failures:
        return ExitCode.DONE
    return ExitCode.PARTLY_DONE if finished else ExitCode.FAILED


@contextlib.contextmanager
def errors_told(output: Output) -> Iterator[None]:
    """Tell what goes wrong in the block, and leave with the exit code that it means.

    Raises
    ------
    typer.Exit
        Where something went wrong.
    """
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        code, reason, message = explain(error)
        if output.debug:
            traceback.print_exc()
        if output.as_json:
            print_json({"error": {"reason": reason, "message": message}})
        typer.echo(f"error: {message} [{reason}]", err=True)
        raise typer.Exit(code) from None


def explain(error: BaseException) -> tuple[ExitCode, str, str]:
    """Return the exit code, the stable reason and the message that an error means for a user."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.FAILED, "CANCELLED", "stopped at once; what was being written is left out"
    code = ExitCode.BAD_USAGE if isinstance(error, InvalidRequestError) else ExitCode.FAILED
    cause = JobError.of(error)
    is_own_defect = cause.reason == DEFECT and not isinstance(error, QpbridgeError)
    return code, cause.reason, cause.message + (_TRACE if is_own_defect else "")


_TRACE: Final = "; run the same command with --debug and report the trace"
