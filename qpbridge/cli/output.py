"""What a verb prints when it is done: one JSON document, or fields and tables for a reader."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH_OF_FILES = 160
"""Columns where standard output is no terminal."""


def print_json(document: object) -> None:
    """Print a document as JSON; not-a-number becomes null, a path its text."""
    import msgspec

    encoded = msgspec.json.encode(document, enc_hook=_plain)
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")
    sys.stdout.flush()


def print_document(document: Mapping[str, Any]) -> None:
    """Print a report's document: its fields as lines, its lists of records as tables."""
    console = output_console()
    fields = {key: value for key, value in document.items() if not _is_nested(value)}
    if fields:
        console.print(fields_table(fields))
    for key, value in document.items():
        rows = _rows(value)
        if rows:
            console.print(records_table(key.replace("_", " "), rows))


def output_console() -> Console:
    """Return a console on standard output, wide enough where that is a file."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES, highlight=False)


def fields_table(fields: Mapping[str, Any]) -> Table:
    """Return a table with one line a field."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for key, value in fields.items():
        table.add_row(escaped(key.replace("_", " ")), escaped(cell(value)))
    return table


def records_table(title: str, records: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with one line a record and a column for every key that occurs."""
    from rich import box
    from rich.table import Table

    table = Table(title=escaped(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    columns = list(dict.fromkeys(key for record in records for key in record))
    for column in columns:
        is_number = all(isinstance(record.get(column), int | float | None) for record in records)
        table.add_column(escaped(column.replace("_", " ")), justify="right" if is_number else "left")
    for record in records:
        table.add_row(*(escaped(cell(record.get(column))) for column in columns))
    return table


def print_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print records under their titles; a title without records is left out."""
    for title, rows in tables.items():
        if rows:
            output_console().print(records_table(title, rows))


def cell(value: object) -> str:
    """Return a value as a reader wants to see it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case Mapping():
            return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(map(cell, value))
        case _:
            return str(value)


def escaped(text: str) -> str:
    """Return text that rich prints as it stands, brackets included."""
    from rich.markup import escape

    return escape(text)


def _is_nested(value: object) -> bool:
    return bool(_rows(value)) or value in ([], {}, ())


def _rows(value: object) -> list[Mapping[str, Any]]:
    """Return a list of records, or a mapping of records with their key as first column; nothing otherwise."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        return list(value)
    if isinstance(value, Mapping) and value:
        return [
            {"name": key, **(item if isinstance(item, Mapping) else {"value": item})} for key, item in value.items()
        ]
    return []


def _plain(value: object) -> object:
    if hasattr(value, "item"):
        return value.item()  # a number of numpy or torch
    return str(value)


class Told:
    """What was told: of several messages of many lines, which say much the same, only the first is told to its end."""

    def __init__(self) -> None:
        self._messages: set[str] = set()
        self._is_long = False

    def is_news(self, message: str) -> bool:
        """Tell whether a message is told for the first time."""
        return message not in self._messages

    def tell(self, message: str) -> str:
        """Return what to show of a message."""
        self._messages.add(message)
        first, newline, _ = message.partition("\n")
        is_known, self._is_long = self._is_long, self._is_long or bool(newline)
        return first if is_known else message
