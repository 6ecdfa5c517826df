"""Pages of lists that are known as a whole; each goes on after the last member of the one before."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from qpbridge.errors import InvalidValueError
from qpbridge.jobs.store.paging import PAGE_DEFAULT, PAGE_MAX

Item = TypeVar("Item")

_MARK: Final = "."


def page_of(items: Sequence[Item], key: Callable[[Item], str], size: int, token: str) -> tuple[Sequence[Item], str]:
    """Return a part of a list, and the token of the next one; empty after the last.

    Parameters
    ----------
    items : sequence
        The whole list.
    key : callable
        Name of a member, which no other has.
    size : int
        Members a page; 0 means the default, more than the limit is cut.
    token : str
        Of the page; empty for the first.

    Raises
    ------
    InvalidValueError
        If the size is negative, or the token was not given out for this list as it is now.
    """
    if size < 0:
        raise InvalidValueError(f"a page cannot hold {size} members; 0 means {PAGE_DEFAULT}")
    begin = _position_after(items, key, token) if token else 0
    end = begin + min(size or PAGE_DEFAULT, PAGE_MAX)
    page = items[begin:end]
    return page, _token(key(page[-1])) if end < len(items) else ""


def _token(name: str) -> str:
    # The mark in front lets an empty name have a token, too.
    return base64.urlsafe_b64encode(f"{_MARK}{name}".encode()).decode()


def _position_after(items: Sequence[Item], key: Callable[[Item], str], token: str) -> int:
    try:
        last = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        last = ""
    found = next((position for position, item in enumerate(items) if f"{_MARK}{key(item)}" == last), None)
    if found is None:
        raise InvalidValueError(
            f"page token '{token}' was not given out for this list, or the list has changed: begin anew without one"
        )
    return found + 1
