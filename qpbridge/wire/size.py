"""How much one message may bring: clients ask before they send, the server when it comes."""

from __future__ import annotations

from qpbridge.errors import TooLargeError


def check_size(size_bytes: int, size_bytes_max: int) -> None:
    """Refuse a message that is too large.

    Raises
    ------
    TooLargeError
        If it is.
    """
    check_amount(size_bytes, size_bytes_max, "bytes", "send less, or have the server read it from a file")


def check_amount(found: int, most: int, what: str, remedy: str) -> None:
    """Refuse more than a server takes.

    Parameters
    ----------
    found, most : int
        What there is, and what there may be.
    what : str
        Its name, in the plural.
    remedy : str
        What to do.

    Raises
    ------
    TooLargeError
        If there is more.
    """
    if found > most:
        raise TooLargeError(f"the request brings {found:,} {what}, and this server takes {most:,} at once: {remedy}")
