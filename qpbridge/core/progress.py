"""How long work tells what it does and learns that it shall stop."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receiver of progress; every long function takes one."""

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Tell that ``done`` of ``total`` steps of a stage are finished.

        Parameters
        ----------
        stage : str
            What is going on, e.g. ``"train"`` or ``"predict slide_a"``.
        done, total : int
            Steps; ``total`` is 0 where it is not known.
        **numbers : float
            What else is worth showing, e.g. ``loss`` or ``mean_iou``.
        """

    def warn(self, message: str) -> None:
        """Tell something that the user should know although the work goes on."""

    def raise_if_cancelled(self) -> None:
        """Raise ``CancelledError`` if somebody asked to stop."""


class SilentProgress:
    """Progress that nobody watches; keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Keep the message."""
        self.warnings.append(message)

    def raise_if_cancelled(self) -> None:
        """Do nothing."""
