"""How much a server takes: more is refused, with the number that would fit."""

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from qpbridge.errors import DiskFullError, InvalidValueError, QueueFullError, TooLargeError, TooManyStreamsError
from qpbridge.v1 import job_pb2, objects_pb2, server_pb2, training_pb2

Start = Callable[..., Any]


def test_a_message_that_is_too_large_is_refused_with_the_number_that_fits(start: Start) -> None:
    server = start("[limits]", "message_bytes_max = 100_000")

    for size in (100_001, 300_000):
        asked = job_pb2.GetJobRequest(job_id="x" * size)
        error = server.refused(lambda asked=asked: server.method("GetJob")(asked, metadata=server.metadata))
        assert isinstance(error, TooLargeError)
        assert "100,000" in str(error)
    endless = job_pb2.GetJobRequest(job_id="x" * 1_000_000)
    with pytest.raises(grpc.RpcError, match=r"larger than max .* 400000"):
        server.method("GetJob")(endless, metadata=server.metadata)


@pytest.mark.parametrize("form", ["collection", "list", "feature", "nested", "spread", "not a number"])
def test_too_many_objects_or_vertices_are_refused_with_the_numbers_that_fit(form: str, start: Start) -> None:
    objects = start("[limits]", "objects_max = 3")
    text = annotations(form, objects=4)
    error = submitted(objects, text)
    assert isinstance(error, TooLargeError)
    assert "4 objects" in str(error)
    assert "takes 3" in str(error)
    objects.end()

    vertices = start("[limits]", "vertices_max = 15")
    error = submitted(vertices, text)
    assert isinstance(error, TooLargeError)
    assert "20 vertices" in str(error)
    assert "takes 15" in str(error)
    assert isinstance(submitted(vertices, annotations(form, objects=3)), AssertionError)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "nonsense", "\x1f\x8b\x08", '{"features": 3}'])
def test_annotations_that_are_none_are_refused_and_harm_nobody(text: str, start: Start) -> None:
    server = start()

    assert isinstance(submitted(server, [text.encode()]), InvalidValueError)
    assert server.call("GetServer", server_pb2.GetServerRequest()).server.version


def submitted(server: Any, texts: list[bytes]) -> BaseException:
    given = [objects_pb2.EntryAnnotations(entry=str(number), geojson=text) for number, text in enumerate(texts)]
    asked = training_pb2.TrainRequest(project=str(server.root), out="m", family="f", annotations=given)
    return server.refused(lambda: server.method("Train")(asked, metadata=server.metadata))


def test_a_full_queue_takes_no_more(start: Start) -> None:
    server = start("[limits]", "queued_jobs_max = 2")
    asked = training_pb2.TrainRequest(project=str(server.root), out="m", family="f", settings={"steps": "100000"})
    first = server.call("Train", asked).job.id
    server.until(first, lambda job: job.state == job_pb2.JOB_STATE_RUNNING)
    for _ in range(2):
        server.call("Train", asked)

    with pytest.raises(QueueFullError, match="2 may"):
        server.call("Train", asked)


def test_no_work_begins_on_a_full_disk(start: Start) -> None:
    server = start("[limits]", f"free_disk_bytes_min = {2**60}")

    with pytest.raises(DiskFullError, match=r"1,152,921,504,607 MB"):
        server.call("Train", training_pb2.TrainRequest(project=str(server.root), out="m", family="f"))
    assert server.call("ListJobs", job_pb2.ListJobsRequest()).jobs == []


def test_one_stream_too_many_is_refused_and_the_others_go_on(start: Start) -> None:
    server = start("[limits]", "streams_max = 2")
    asked = training_pb2.TrainRequest(project=str(server.root), out="m", family="f", settings={"steps": "100000"})
    watched = job_pb2.WatchJobRequest(job_id=server.call("Train", asked).job.id)
    streams = [server.stream("WatchJob", watched) for _ in range(2)]
    for stream in streams:
        next(stream)

    error = server.refused(lambda: server.stream("WatchJob", watched))

    assert isinstance(error, TooManyStreamsError)
    assert "2 may" in str(error)
    assert all(next(stream) for stream in streams)
    streams[0].cancel()
    for _ in range(100):
        if isinstance(error := server.refused(lambda: next(server.stream("WatchJob", watched))), AssertionError):
            break
        assert isinstance(error, TooManyStreamsError)
    else:
        pytest.fail("a stream that was closed still counts")


def annotations(form: str, objects: int) -> list[bytes]:
    """Return texts that hold so many objects, each of five vertices, written in ways that a careless count misses."""
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
    one = {"type": "Feature", "geometry": outline, "properties": {"objectType": "annotation", "color": [255, 0, 0]}}
    many = [one] * objects
    nested = {**one, "properties": {"childObjects": [{**one, "properties": {"children": [one] * (objects - 2)}}]}}
    noted = {**one, "properties": {"measurements": {"area": float("nan")}}}
    forms = {
        "collection": [json.dumps({"type": "FeatureCollection", "features": many})],
        "list": [json.dumps(many, indent=9)],
        "feature": [json.dumps(one), *[json.dumps(outline)] * (objects - 1)],
        "nested": [json.dumps(nested)],
        "spread": [json.dumps([one])] * objects,
        "not a number": ["\ufeff" + json.dumps([noted] * objects)],
    }
    return [text.encode() for text in forms[form]]
