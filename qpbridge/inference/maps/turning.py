"""The turns of the square under which a network's answers are averaged. Loads no heavy library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from qpbridge.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

TurnChoice: TypeAlias = Literal["none", "flips", "d4"]
"""Nothing; the square as it is, mirrored along either axis and along both; all eight turns of the square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One way to lay a square onto itself: a mirror image first, then quarter turns.

    Parameters
    ----------
    quarters : int
        Counter-clockwise, 0 to 3.
    is_mirrored : bool
        Left becomes right before that.
    """

    quarters: int = 0
    is_mirrored: bool = False

    def there(self, squares: Tensor) -> Tensor:
        """Return squares turned about their centers, shape (..., H, W) with H = W.

        Views of all magnifications share one center, so they stay registered when all are turned alike.
        """
        mirrored = squares.flip(-1) if self.is_mirrored else squares
        return mirrored.rot90(self.quarters, (-2, -1)) if self.quarters else mirrored

    def back(self, squares: Tensor) -> Tensor:
        """Return squares as they were before ``there``, shape (..., H, W)."""
        turned = squares.rot90(-self.quarters, (-2, -1)) if self.quarters else squares
        return turned.flip(-1) if self.is_mirrored else turned


AS_IT_IS: Final = (Turn(),)

TURNS: Final[Mapping[str, tuple[Turn, ...]]] = {
    "none": AS_IT_IS,
    "flips": tuple(Turn(quarters=quarters, is_mirrored=mirrored) for quarters in (0, 2) for mirrored in (False, True)),
    "d4": tuple(Turn(quarters=quarters, is_mirrored=mirrored) for quarters in range(4) for mirrored in (False, True)),
}
"""By ``TurnChoice``. Each is a group, so that an average over it turns with the picture."""


def turns_of(choice: str) -> tuple[Turn, ...]:
    """Return the turns of a choice.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if choice not in TURNS:
        raise UnknownNameError("way to turn tiles", choice, list(TURNS), "--tta")
    return TURNS[choice]
