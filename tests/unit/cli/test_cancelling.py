import os
import signal
import threading

import pytest

from qpbridge.cli.cancelling import Cancellation
from qpbridge.errors import CancelledError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_work_to_stop(number: signal.Signals) -> None:
    with Cancellation() as cancellation:
        cancellation.raise_if_asked()
        os.kill(os.getpid(), number)

        with pytest.raises(CancelledError):
            cancellation.raise_if_asked()


def test_the_second_interrupt_stops_at_once() -> None:
    # A shell lets what it starts in the background ignore interrupts.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Cancellation():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)


def test_former_handlers_are_back_afterwards() -> None:
    former = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with Cancellation():
        assert signal.getsignal(signal.SIGINT) is not former[0]

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == former


def test_another_thread_is_left_without_handlers() -> None:
    former, inside = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Cancellation() as cancellation:
            inside.append(signal.getsignal(signal.SIGINT))
            cancellation.raise_if_asked()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert inside == [former]
