"""Whose job comes next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ANY_DEVICE: Final = "auto"

CLIENTS_REMEMBERED: Final = 1000
"""Clients whose last turn is known; who was forgotten counts as new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A job that waits.

    Parameters
    ----------
    job_id : str
        Of the job.
    client : str
        Takes turns with others.
    device : str
        One device, a kind of device (``"cuda"``), or ``ANY_DEVICE``.
    is_interactive : bool
        Whether somebody sits and waits, so that it passes all others.
    """

    job_id: str
    client: str
    device: str = ANY_DEVICE
    is_interactive: bool = False


def suits(wanted: str, device: str) -> bool:
    """Return whether a device is one that was asked for."""
    return wanted in {ANY_DEVICE, device, device.partition(":")[0]}


def suits_any(wanted: str, devices: Iterable[str]) -> bool:
    """Return whether one of the devices is what was asked for."""
    return any(suits(wanted, device) for device in devices)


class FairQueue:
    """Jobs that wait: interactive ones first; then the client whose last turn is longest ago; then the oldest."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []
        self._turns: dict[tuple[bool, str], int] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, ticket: Ticket) -> None:
        """Let a job wait."""
        self._tickets.append(ticket)

    def take(self, device: str) -> Ticket | None:
        """Return the job that a free device does next; None where none waits for it."""
        suited = [ticket for ticket in self._tickets if suits(ticket.device, device)]
        if not suited:
            return None
        # min returns the first of equals, which is the oldest.
        ticket = min(suited, key=lambda one: (not one.is_interactive, self._turns.get(_lane(one), 0)))
        self._tickets.remove(ticket)
        self._note_turn(ticket)
        return ticket

    def remove(self, job_id: str) -> bool:
        """Let a job wait no longer; return whether it did."""
        count = len(self._tickets)
        self._tickets = [ticket for ticket in self._tickets if ticket.job_id != job_id]
        return len(self._tickets) < count

    def _note_turn(self, ticket: Ticket) -> None:
        self._turn += 1
        self._turns.pop(_lane(ticket), None)
        self._turns[_lane(ticket)] = self._turn
        if len(self._turns) > CLIENTS_REMEMBERED:
            del self._turns[next(iter(self._turns))]


def _lane(ticket: Ticket) -> tuple[bool, str]:
    return ticket.is_interactive, ticket.client
