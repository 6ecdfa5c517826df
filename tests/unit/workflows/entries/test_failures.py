from qpbridge.errors import SlideNotFoundError
from qpbridge.workflows.entries.failures import Failure


def test_a_failure_keeps_cause_and_message() -> None:
    failure = Failure.of("entry 3 'a.svs'", SlideNotFoundError("looked in /x"))

    assert failure == Failure(entry="entry 3 'a.svs'", reason="SLIDE_NOT_FOUND", message="looked in /x")
