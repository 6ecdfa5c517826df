"""Which of several processes of one run this is: torchrun tells each by its environment. Loads no heavy library."""

from __future__ import annotations

import os


def process_count() -> int:
    """Return how many processes work on this run together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_number() -> int:
    """Return which of them this is, from 0 on; 0 for one alone."""
    return int(os.environ.get("RANK", "0")) if process_count() > 1 else 0


def number_on_machine() -> int:
    """Return which of those on this machine it is, from 0 on."""
    return int(os.environ.get("LOCAL_RANK", "0"))
