"""Options that several verbs share, each written once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast, get_args

import typer

from qpbridge.core.backend import BackendChoice
from qpbridge.core.objects import REGION_CLASS
from qpbridge.errors import InvalidValueError
from qpbridge.inference.maps.turning import TurnChoice


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

RegionClass: TypeAlias = Annotated[
    str, typer.Option("--region-class", metavar="NAME", help="Class that marks completely annotated areas.")
]


BackendName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="auto|paquo|native",
        help="Who reads the project; auto takes a real QuPath (paquo) where one works.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which slides, and what is known of them."""

    entries: Entries = None
    mpp: PixelSize = None
    path_map: PathMap = None
    backend: BackendName = "auto"

    def values(self) -> dict[str, Any]:
        """Return the fields of a request that these options are."""
        return {
            "entries": names(self.entries),
            "mpp": self.mpp,
            "path_map": tuple(self.path_map or ()),
            "backend": backend(self.backend),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScope(Scope):
    """Which slides, and how their annotations are read."""

    region_class: RegionClass = REGION_CLASS

    def values(self) -> dict[str, Any]:
        """Return the fields of a request that these options are."""
        return {**Scope.values(self), "region_class": self.region_class}


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthScope(LabelScope):
    """Which slides, and what their annotations say of what nobody annotated."""

    complete: Annotated[
        bool, typer.Option("--complete", help="Everything is annotated: as if such an area covered every image.")
    ] = False

    def values(self) -> dict[str, Any]:
        """Return the fields of a request that these options are."""
        return {**LabelScope.values(self), "complete": self.complete}


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """What is made of class probabilities."""

    blend: Annotated[bool, typer.Option("--blend", help="Let tiles fade into one another where they overlap.")] = False
    tta: Annotated[
        str | None,
        typer.Option(
            "--tta",
            metavar="none|flips|d4",
            help="Average over 4 mirror images or 8 turns of each tile; default: what the model was made for.",
        ),
    ] = None
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write NAME.probabilities.ome.tif, a channel a class, too.")
    ] = False
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Measure of each object how probable and how uncertain it is.")
    ] = False
    suggest: Annotated[
        int,
        typer.Option(
            "--suggest", metavar="N", min=0, help="Add the N most uncertain regions of each slide, as 'Review*'."
        ),
    ] = 0

    def values(self) -> dict[str, Any]:
        """Return the fields of a request that these options are."""
        tta = None if self.tta is None else choice("--tta", self.tta, get_args(TurnChoice))
        return {**asdict(self), "tta": tta}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the work is done: in this process, or on a server."""

    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="[HOST:PORT]",
            help="Let a server do it; without a value the one of this machine. Paths are the server's.",
        ),
    ] = None
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="Holds the server's token; or set QPBRIDGE_TOKEN."),
    ] = None
    tls_ca: Annotated[
        Path | None,
        typer.Option("--tls-ca", metavar="FILE", help="Certificate to trust, for a server that encrypts."),
    ] = None
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Your own, where the server asks for it.")
    ] = None
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Key of your certificate.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is printed."""

    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False
    debug: Annotated[bool, typer.Option("--debug", envvar="QPBRIDGE_DEBUG", help="Print the trace of an error.")] = (
        False
    )


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

    Raises
    ------
    InvalidValueError
        If it was given without a name: what was meant is hardly everything.
    """
    if not values:
        return None
    found = tuple(name.strip() for value in values for name in value.split(",") if name.strip())
    if not found:
        raise InvalidValueError(f"'{','.join(values)}' names nothing: give names with commas between, or leave it out")
    return found


def choice(option: str, value: str, known: Sequence[str]) -> str:
    """Return the value of an option that takes one of some names.

    Raises
    ------
    InvalidValueError
        If there is none of that name.
    """
    if value not in known:
        raise InvalidValueError(f"{option} takes {', '.join(known)}, not '{value}'")
    return value


def backend(value: str) -> BackendChoice:
    """Return a backend given as an option; errors as for ``choice``."""
    return cast(BackendChoice, choice("--backend", value, get_args(BackendChoice)))


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
