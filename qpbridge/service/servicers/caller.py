"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CLIENT_LENGTH_MAX: Final = 100
"""Characters of a client's name that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a servicer knows of a call beside its message.

    Parameters
    ----------
    client : str
        As the client calls itself, or else its address; clients take turns.
    """

    client: str


def caller_named(name: str, address: str) -> Caller:
    """Return who calls itself by a name, as far as it can be shown, or else by an address."""
    shown = "".join(character for character in name if character.isprintable())
    return Caller(client=shown[:CLIENT_LENGTH_MAX] or address)
