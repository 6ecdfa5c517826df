"""A verb: options that belong together come as one record, and ``--server`` may stand without a value."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final, get_type_hints

from typer.core import TyperCommand

AUTO: Final = "auto"
"""Value of ``--server`` that means the server of the discovery file."""

_SERVER: Final = "--server"
_ADDRESS: Final = re.compile(rf"{AUTO}|(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{{1,5}}")


class Verb(TyperCommand):
    """A command whose ``--server`` takes the next word only where that is an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command line."""
        return super().parse_args(ctx, list(completed(args)))


def completed(words: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command line, with ``auto`` behind each ``--server`` that has no address."""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        yield word
        if word == _SERVER and not _ADDRESS.fullmatch(following):
            yield AUTO


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function of single options that calls one whose parameters may be records of options.

    Parameters
    ----------
    function : callable
        A parameter whose type is a dataclass stands for the fields of that, each annotated as an option.
    """
    parameters: list[inspect.Parameter] = []
    records: dict[str, tuple[type, list[str]]] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            members = list(_options(kind))
            records[parameter.name] = (kind, [member.name for member in members])
            parameters += members
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def call(**given: Any) -> None:
        for name, (record, members) in records.items():
            given[name] = record(**{member: given.pop(member) for member in members})
        function(**given)

    functools.update_wrapper(call, function)
    del call.__wrapped__  # type: ignore[attr-defined]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _options(record: type) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(record, include_extras=True)
    for item in fields(record):
        default = inspect.Parameter.empty if item.default is MISSING else item.default
        yield inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[item.name])
