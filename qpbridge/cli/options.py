"""Options that several verbs share, each written once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from qpbridge.errors import InvalidValueError


def positive(value: float | None) -> float | None:
    """Return a number given as an option.

    Raises
    ------
    typer.BadParameter
        If it is not finite and above 0.
    """
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} is no finite number above 0")
    return value


ProjectPath: TypeAlias = Annotated[
    Path, typer.Argument(metavar="PROJECT", help="A project.qpproj, or the folder that holds it.", show_default=False)
]
Entries: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--entries", metavar="ENTRY[,ENTRY...]", help="Ids or image names of entries; default: all."),
]
PixelSize: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--mpp",
        metavar="UM_PER_PX",
        callback=positive,
        help="Pixel size of the slides; wins over QuPath's and the file's.",
    ),
]
Device: TypeAlias = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda[:N]|mps", help="Where networks run; auto takes a GPU.")
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn at random.")]
PathMap: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--path-map", metavar="FROM=TO", help="Where stored slide paths lie now; repeatable."),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Debug: TypeAlias = Annotated[
    bool, typer.Option("--debug", envvar="QPBRIDGE_DEBUG", help="Print the trace of an error.")
]


def names(values: list[str] | None) -> tuple[str, ...] | None:
    """Split the values of a repeatable option at commas.

    Parameters
    ----------
    values : list of str or None
        As typed, e.g. ``["Tumor,Stroma", "Necrosis"]``.

    Returns
    -------
    tuple of str or None
        ``("Tumor", "Stroma", "Necrosis")``; None where the option was not given.
    """
    if not values:
        return None
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def settings(values: list[str] | None) -> dict[str, str]:
    """Read ``key=value`` pairs.

    Raises
    ------
    InvalidValueError
        If a pair has no equals sign or no key, or a key comes twice.
    """
    pairs: dict[str, str] = {}
    for text in values or ():
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not key:
            raise InvalidValueError(f"--set takes key=value, not '{text}'")
        if key in pairs:
            raise InvalidValueError(f"--set gives '{key}' twice: {pairs[key]} and {value}")
        pairs[key] = value
    return pairs
