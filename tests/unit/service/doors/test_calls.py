"""What calls have in common."""

import logging

import pytest

from qpbridge.errors import TooManyStreamsError
from qpbridge.service.configuration import Limits
from qpbridge.service.doors.calls import Streams, answer_of, logged
from qpbridge.v1 import job_pb2


class Servicer:
    def get_job(self) -> str:
        return "j1"


def test_a_method_is_answered_by_the_one_of_its_name() -> None:
    method = job_pb2.DESCRIPTOR.services_by_name["JobService"].methods_by_name["GetJob"]

    assert answer_of(Servicer(), method)() == "j1"


def test_streams_are_counted_until_they_end_however_they_do() -> None:
    streams = Streams(Limits(streams_max=1))

    with pytest.raises(ZeroDivisionError), streams.counted():
        raise ZeroDivisionError
    with streams.counted(), pytest.raises(TooManyStreamsError, match="1 streams are open, and 1 may"):
        streams.counted().__enter__()
    with streams.counted():
        pass


@pytest.mark.parametrize(("level", "lines"), [(logging.DEBUG, 1), (logging.INFO, 0)])
def test_calls_are_logged_where_each_is_asked_for(level: int, lines: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(level, logger="qpbridge"), logged(job_pb2.GetJobRequest, lambda: "anna"):
        pass

    assert [(record.request, record.client) for record in caplog.records] == [("GetJobRequest", "anna")] * lines
