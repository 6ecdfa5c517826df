"""The process of QuPath as ours sees it: one Java at a time, replaced after a few images, ended with its owner."""

from __future__ import annotations

import contextlib
import multiprocessing
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, ParamSpec, TypeVar

from qpbridge.errors import QupathFailedError, QupathMissingError
from qpbridge.qupath.paquo_backend import installation
from qpbridge.qupath.paquo_backend.inside import jvm
from qpbridge.qupath.paquo_backend.records import JavaFailure, QuPathFacts

IMAGES_PER_PROCESS: Final = 8
"""Images that one Java reads before another takes its place: paquo and QuPath keep what they have read (paquo#106)."""

START_LIMIT_S: Final = 120.0
"""How long QuPath may take to start, s."""

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class QuPathProcess:
    """A QuPath in a process of its own, which starts when it is first asked and ends when nobody holds this any more.

    Parameters
    ----------
    images_max : int
        Images after which the process is replaced.
    """

    def __init__(self, images_max: int = IMAGES_PER_PROCESS) -> None:
        self._images_max = images_max
        self._images = 0
        self._pool: ProcessPoolExecutor | None = None
        self._ending: weakref.finalize[..., QuPathProcess] | None = None

    def start(self) -> QuPathFacts:
        """Return what runs; starts it where it does not run yet.

        Raises
        ------
        QupathMissingError
            If there is no QuPath, or it does not start; says why, and how to get one.
        """
        try:
            return self._submitted(jvm.facts).result(START_LIMIT_S)
        except (JavaFailure, BrokenProcessPool, TimeoutError) as error:
            self.close()
            why = str(error) or f"no answer within {START_LIMIT_S:.0f} s"
            raise QupathMissingError(f"no QuPath to work with: {why}; {installation.ADVICE}") from error

    def ask(self, task: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        """Let the process do something.

        Parameters
        ----------
        task : callable
            Function of a module that the process loads.

        Raises
        ------
        JavaFailure
            If QuPath could not do it.
        QupathFailedError
            If the process has died of it.
        """
        try:
            return self._submitted(task, *args, **kwargs).result()
        except BrokenProcessPool as error:
            self.close()
            raise QupathFailedError(
                "the process of QuPath has died, perhaps for lack of memory; try --backend native"
            ) from error

    def ask_for_image(
        self, task: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Answer:
        """Let the process do something that loads an image's objects: as ``ask``, in a fresh one where it is time."""
        if self._images >= self._images_max:
            self.close()
        self._images += 1
        return self.ask(task, *args, **kwargs)

    def close(self) -> None:
        """End the process as soon as it has done what it does."""
        if self._ending is not None:
            self._ending()
        self._pool, self._ending, self._images = None, None, 0

    def _submitted(
        self, task: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Future[_Answer]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),  # a fork of a process with threads may hang
                initializer=jvm.prepare,
                initargs=(installation.told_folder(),),
            )
            self._ending = weakref.finalize(self, _end, self._pool)
        return self._pool.submit(task, *args, **kwargs)


def _end(pool: ProcessPoolExecutor) -> None:
    with contextlib.suppress(RuntimeError):
        pool.shutdown(wait=False, cancel_futures=True)
