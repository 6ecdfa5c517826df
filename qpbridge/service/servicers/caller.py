"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a servicer knows of a call beside its message.

    Parameters
    ----------
    client : str
        As the client calls itself, or else its address; clients take turns.
    """

    client: str
