"""Worker processes that make nuclei of blocks while the network goes on."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import Final

from qpbridge.inference.nuclei.blocks import Block
from qpbridge.inference.nuclei.decoding import CERTAIN
from qpbridge.inference.nuclei.harvesting import MASK, Harvesting, Nuclei, harvest

WAITING: Final = 2
"""Blocks per worker that may wait: enough that none is idle, few enough to keep memory small."""


def harvest_all(blocks: Iterable[Block], harvesting: Harvesting, workers: int) -> Iterator[Nuclei]:
    """Yield the nuclei of each block, in the order of the blocks.

    Parameters
    ----------
    blocks : iterable of Block
        Asked for the next one only when there is room for it; meanwhile workers are busy with those before.
    harvesting : Harvesting
        What to do with them.
    workers : int
        Processes; 0 for none but this one.
    """
    work = partial(harvest, harvesting=harvesting)
    wanted = (block for block in blocks if block.layers[MASK].max(initial=0) > CERTAIN * _least(harvesting))
    if not workers:
        yield from map(work, wanted)
        return
    pending: deque[Future[Nuclei]] = deque()
    # Spawned, since forks of a process with threads and a GPU are not safe.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            for block in wanted:
                pending.append(pool.submit(work, block))
                while pending and (len(pending) > WAITING * workers or pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _least(harvesting: Harvesting) -> float:
    return harvesting.decoding.mask_threshold


def _begin() -> None:
    import cv2

    # The processes are the threads.
    cv2.setNumThreads(1)
