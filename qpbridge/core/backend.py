"""What reads QuPath's projects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

BackendName: TypeAlias = Literal["native", "paquo"]
"""This package itself, or a real QuPath through paquo."""

BackendChoice: TypeAlias = Literal["auto", "paquo", "native"]
"""What may be asked for; ``auto`` takes paquo where there is a QuPath that can be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What reads a project.

    Parameters
    ----------
    name : {"native", "paquo"}
        This package itself, or a real QuPath.
    detail : str
        Which QuPath, or why none; empty where nobody asked.
    warning : str or None
        What the user should know of it.
    """

    name: BackendName = "native"
    detail: str = ""
    warning: str | None = None
