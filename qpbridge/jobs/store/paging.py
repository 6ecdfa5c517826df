"""Lists in pages that stay right while jobs come and go: each goes on below the last job of the one before."""

from __future__ import annotations

import base64
import binascii
import itertools
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from qpbridge.errors import InvalidValueError
from qpbridge.jobs.records import JobState

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500

_NEWEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which jobs a page holds.

    Parameters
    ----------
    size : int
        Jobs a page.
    before : int
        Sequence number that all on the page are below.
    states : tuple of str
        Any where empty.
    kinds : tuple of str
        Any where empty.
    """

    size: int
    before: int
    states: tuple[str, ...]
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, size: int, token: str, states: Collection[JobState], kinds: Collection[str]) -> PageQuery:
        """Read what a client asked for; a size of 0 means the default, more than ``PAGE_MAX`` is cut.

        Raises
        ------
        InvalidValueError
            If the size is negative, or the token was not given out for the same states and kinds.
        """
        if size < 0:
            raise InvalidValueError(f"a page cannot hold {size} jobs; 0 means {PAGE_DEFAULT}")
        query = cls(
            size=min(size or PAGE_DEFAULT, PAGE_MAX),
            before=_NEWEST,
            states=tuple(sorted({state.value for state in states})),
            kinds=tuple(sorted(set(kinds))),
        )
        return query._after(token) if token else query

    def sql(self, columns: str) -> str:
        """Return the statement that reads the page, and one row more if there is a next one."""
        # One look into an index for each pair: where few jobs match, SQLite would read all others else.
        of_state, of_kind = ("state = ?",) if self.states else (), ("kind = ?",) if self.kinds else ()
        condition = " AND ".join((*of_state, *of_kind, "sequence < ?"))
        part = f"SELECT * FROM (SELECT {columns} FROM jobs WHERE {condition} ORDER BY sequence DESC LIMIT ?)"
        parts = " UNION ALL ".join(itertools.repeat(part, len(self._pairs())))
        return f"{parts} ORDER BY sequence DESC LIMIT {self.size + 1}"

    def values(self) -> list[Any]:
        """Return the values of the statement's marks."""
        return [value for pair in self._pairs() for value in (*pair, self.before, self.size + 1)]

    def token_after(self, sequence: int) -> str:
        """Return the token of the page that begins below a job."""
        return base64.urlsafe_b64encode(f"{sequence}.{self._mark()}".encode()).decode()

    def _after(self, token: str) -> PageQuery:
        try:
            sequence, _, mark = base64.urlsafe_b64decode(token.encode()).decode().partition(".")
            before = int(sequence)
        except (ValueError, binascii.Error):
            mark, before = "", 0
        if mark != self._mark() or not 0 < before < _NEWEST:
            raise InvalidValueError(
                f"page token '{token}' was not given out for this list: begin anew without one, or ask for the same"
                " states and kinds as before"
            )
        return PageQuery(size=self.size, before=before, states=self.states, kinds=self.kinds)

    def _pairs(self) -> list[tuple[str, ...]]:
        return list(itertools.product(*(group for group in (self.states, self.kinds) if group)))

    def _mark(self) -> str:
        return format(zlib.crc32(repr((self.states, self.kinds)).encode()), "x")
