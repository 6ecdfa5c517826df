import pytest

from qpbridge.core.progress import SilentProgress
from qpbridge.errors import CancelledError, DiskFullError, NoAnnotationError, QpbridgeError, SlideNotFoundError
from qpbridge.workflows.entries.failures import Failure, Failures, one_by_one


class Noted(SilentProgress):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int, int]] = []
        self.is_cancelled = False

    def report(self, stage: str, done: int, total: int, **numbers: float) -> None:  # noqa: ARG002
        self.told.append((stage, done, total))

    def raise_if_cancelled(self) -> None:
        if self.is_cancelled:
            raise CancelledError("cancelled")


def test_a_failure_keeps_cause_and_message() -> None:
    failure = Failure.of("entry 3 'a.svs'", SlideNotFoundError("looked in /x"))

    assert failure == Failure(entry="entry 3 'a.svs'", reason="SLIDE_NOT_FOUND", message="looked in /x")


def test_what_goes_wrong_with_one_entry_is_kept_and_told() -> None:
    progress = Noted()
    failures = Failures(progress)

    for name in ("a", "b", "c"):
        with failures.kept(name):
            if name != "b":
                raise SlideNotFoundError(f"no {name}")

    assert [(item.entry, item.message) for item in failures.found] == [("a", "no a"), ("c", "no c")]
    assert progress.warnings == ["no a", "no c"]
    assert str(failures.first_or(NoAnnotationError("none"))) == "no a"


def test_lack_of_memory_is_a_failure_of_the_entry() -> None:
    failures = Failures(SilentProgress())

    with failures.kept("a"):
        raise MemoryError

    assert [item.reason for item in failures.found] == ["OUT_OF_MEMORY"]
    assert isinstance(failures.first_or(NoAnnotationError("none")), NoAnnotationError)


@pytest.mark.parametrize("error", [CancelledError("stop"), DiskFullError("full"), KeyError("defect")])
def test_what_ends_a_batch_is_let_through(error: Exception) -> None:
    failures = Failures(SilentProgress())

    with pytest.raises(type(error)), failures.kept("a"):
        raise error

    assert failures.found == []


def test_items_come_in_order_and_are_counted() -> None:
    progress = Noted()

    assert list(one_by_one("xy", "work", progress)) == ["x", "y"]
    assert progress.told == [("work", 0, 2), ("work", 1, 2), ("work", 2, 2)]


def test_cancelling_is_heard_between_items() -> None:
    progress = Noted()
    items = one_by_one("xy", "work", progress)
    next(items)
    progress.is_cancelled = True

    with pytest.raises(QpbridgeError, match="cancelled"):
        next(items)
