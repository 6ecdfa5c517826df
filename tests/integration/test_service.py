"""A server in a process of its own, asked over gRPC."""

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from qpbridge.errors import (
    BundleNotFoundError,
    InvalidValueError,
    JobNotFoundError,
    PredictionNotFoundError,
    ServerStoppingError,
)
from qpbridge.v1 import (
    evaluation_pb2,
    job_pb2,
    model_pb2,
    prediction_pb2,
    project_pb2,
    server_pb2,
    training_pb2,
)

Start = Callable[..., Any]
MIB = 2**20


def training(server: Any, steps: int = 2, out: str = "m") -> training_pb2.TrainRequest:
    return training_pb2.TrainRequest(project=str(server.root), out=out, family="dmmn", settings={"steps": str(steps)})


def prediction(server: Any, slides: int = 2) -> prediction_pb2.PredictRequest:
    (server.root / "model").mkdir(exist_ok=True)
    paths = [str(server.root / f"slide{number}.png") for number in range(slides)]
    source = prediction_pb2.SlidesSource(paths=paths)
    return prediction_pb2.PredictRequest(slides=source, model=str(server.root / "model"), out=str(server.root / "out"))


def region(server: Any, chunks: int = 3, chunk_s: float = 0.0) -> prediction_pb2.PredictRegionRequest:
    return prediction_pb2.PredictRegionRequest(
        slide=str(server.root / "a.svs"),
        model=str(server.root / "model"),
        region={"x_px": 0, "y_px": 0, "width_px": 10, "height_px": 10},
        margin_px=chunks,
        smooth_um=chunk_s,
    )


def test_a_server_says_what_it_is_and_that_it_is_healthy(start: Start) -> None:
    server = start()

    about = server.call("GetServer", server_pb2.GetServerRequest()).server
    health = health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())

    assert list(about.roots) == [str(server.root)]
    assert list(about.model_folders) == [str(server.state / "models")]
    assert list(about.devices) == ["cpu"]
    assert about.limits.queued_jobs_max == 100
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_names_every_service(start: Start) -> None:
    server = start()
    asked = reflection_pb2.ServerReflectionRequest(list_services="")

    answers = reflection_pb2_grpc.ServerReflectionStub(server.channel).ServerReflectionInfo(
        iter([asked]), metadata=server.metadata
    )

    names = {service.name for answer in answers for service in answer.list_services_response.service}
    kinds = ("Project", "Model", "Training", "Prediction", "Evaluation", "Job", "Server")
    assert {f"qpbridge.v1.{kind}Service" for kind in kinds} <= names


def test_training_is_answered_at_once_watched_and_listed(start: Start) -> None:
    server = start()

    job = server.call("Train", training(server, steps=10)).job
    told = [event.job for event in server.stream("WatchJob", job_pb2.WatchJobRequest(job_id=job.id))]

    assert job.state == job_pb2.JOB_STATE_QUEUED
    assert (job.client, job.device, job.title) == ("tester", "cpu", "root")
    assert {one.state for one in told} >= {job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_SUCCEEDED}
    assert any(one.progress.stage == "train" and "loss" in one.progress.numbers for one in told)
    assert told[-1].train.bundle == str(server.state / "models" / "m")
    assert (server.state / "models" / "m" / "weights").is_file()
    page = server.call("ListJobs", job_pb2.ListJobsRequest(states=[job_pb2.JOB_STATE_SUCCEEDED]))
    assert [one.id for one in page.jobs] == [job.id]
    assert not page.jobs[0].HasField("train")
    assert server.job(job.id) == told[-1]


def test_results_come_as_they_lie_on_the_disk_in_small_parts(start: Start) -> None:
    server = start()
    job = server.ended(server.call("Predict", prediction(server)).job.id)

    parts = list(server.stream("GetResults", prediction_pb2.GetResultsRequest(job_id=job.id, entry="slide1.png")))

    content = b"".join(part.data for part in parts)
    assert content == (server.root / "out" / "slide1.geojson").read_bytes()
    assert (parts[0].file.name, parts[0].file.size_bytes) == ("slide1.geojson", len(content))
    assert max(part.ByteSize() for part in parts) <= MIB
    assert len(parts) > 2


def test_results_that_there_are_not_are_told_by_name(start: Start) -> None:
    server = start()
    job = server.ended(server.call("Predict", prediction(server)).job.id)

    for job_id, entry, error in (
        (job.id, "slide9", PredictionNotFoundError),
        ("nothing", "slide0", JobNotFoundError),
        (server.ended(server.call("Train", training(server)).job.id).id, "slide0", InvalidValueError),
    ):
        with pytest.raises(error):
            list_or_raise(server.stream("GetResults", prediction_pb2.GetResultsRequest(job_id=job_id, entry=entry)))


def list_or_raise(stream: Any) -> list[Any]:
    from qpbridge.wire.errors import error_of

    try:
        return list(stream)
    except grpc.RpcError as error:
        raise error_of(error) from error


def test_a_region_streams_the_job_its_objects_and_the_report(start: Start) -> None:
    server = start()

    answers = list(server.stream("PredictRegion", region(server, chunks=20)))

    events = [answer.WhichOneof("event") for answer in answers]
    assert (events[0], events[-1]) == ("job", "finished")
    objects = [answer.objects for answer in answers if answer.WhichOneof("event") == "objects"]
    assert sum(chunk.count for chunk in objects) == answers[-1].finished.objects == 20_000
    assert sum(chunk.features.count(b"\n") for chunk in objects) == 20_000


def test_a_client_who_goes_away_stops_the_region(start: Start) -> None:
    server = start()
    call = server.stream("PredictRegion", region(server, chunks=1000, chunk_s=0.05))
    job_id = next(call).job.id
    server.until(job_id, lambda job: job.state == job_pb2.JOB_STATE_RUNNING)

    call.cancel()

    server.until(job_id, lambda job: job.state == job_pb2.JOB_STATE_CANCELLED)
    server.end()
    assert "fault" not in server.logs()


def test_a_client_who_reads_nothing_holds_up_the_region_and_not_the_memory(start: Start) -> None:
    server = start()
    call = server.stream("PredictRegion", region(server, chunks=3000))
    job_id = next(call).job.id
    time.sleep(3)
    stalled = server.job(job_id)

    received = 0
    for answer in call:
        if answer.WhichOneof("event") == "objects":
            received += answer.objects.count

    # 57 MB in all; what gRPC and the worker's window hold on their way is far less.
    assert stalled.state == job_pb2.JOB_STATE_RUNNING
    assert stalled.progress.done < 2000
    assert received == 3_000_000


def test_a_look_at_a_project_does_not_wait_for_a_training(start: Start) -> None:
    server = start()
    long = server.call("Train", training(server, steps=1000)).job.id
    server.until(long, lambda job: job.state == job_pb2.JOB_STATE_RUNNING)

    report = server.call("InspectProject", project_pb2.InspectProjectRequest(project=str(server.root))).report

    assert report.qupath_version == "files"
    assert server.job(long).state == job_pb2.JOB_STATE_RUNNING


def test_a_device_that_is_named_twice_does_two_jobs_at_once(start: Start) -> None:
    server = start('devices = ["cpu", "cpu"]')
    jobs = [server.call("Train", training(server, steps=1000, out=out)).job.id for out in ("a", "b")]

    for job_id in jobs:
        server.until(job_id, lambda job: job.progress.done > 3)

    assert {server.job(job_id).state for job_id in jobs} == {job_pb2.JOB_STATE_RUNNING}


def test_a_look_that_nobody_waits_for_is_stopped(start: Start) -> None:
    server = start()
    asked = project_pb2.InspectProjectRequest(project=str(server.root), mpp=600)
    call = server.method("InspectProject").future(asked, metadata=server.metadata)
    listed = job_pb2.ListJobsRequest(kinds=[job_pb2.JOB_KIND_INSPECT], states=[job_pb2.JOB_STATE_RUNNING])
    while not (jobs := server.call("ListJobs", listed).jobs):
        time.sleep(0.02)

    call.cancel()

    server.until(jobs[0].id, lambda job: job.state == job_pb2.JOB_STATE_CANCELLED)


def test_work_that_never_looks_up_is_stopped_all_the_same(start: Start) -> None:
    server = start()
    asked = project_pb2.ExportProjectRequest(project=str(server.root), out=str(server.root / "out"))
    job_id = server.call("ExportProject", asked).job.id
    server.until(job_id, lambda job: job.progress.stage == "export")

    job = server.call("CancelJob", job_pb2.CancelJobRequest(job_id=job_id)).job

    assert job.state == job_pb2.JOB_STATE_CANCELLED


def test_failures_keep_their_reason_and_the_server_goes_on(start: Start) -> None:
    server = start()
    (server.root / "model").mkdir()
    asked = evaluation_pb2.EvaluateRequest(project=str(server.root), model=str(server.root / "model"))
    dying = model_pb2.ExportModelRequest(model=str(server.root / "model"), out=str(server.root / "m.onnx"))

    failed = server.ended(server.call("Evaluate", asked).job.id)
    died = server.ended(server.call("ExportModel", dying).job.id)

    assert (failed.error.reason, failed.error.message) == ("SLIDE_NOT_FOUND", "slide 'A12' is not there; look for it")
    assert died.error.reason == "WORKER_DIED"
    assert server.ended(server.call("Train", training(server)).job.id).state == job_pb2.JOB_STATE_SUCCEEDED
    with pytest.raises(JobNotFoundError):
        server.job("nothing")
    with pytest.raises(InvalidValueError, match="family"):
        server.call("Train", training_pb2.TrainRequest(project=str(server.root), out="m"))


def test_a_hundred_watch_a_job_and_all_see_its_end(start: Start) -> None:
    server = start()
    job_id = server.call("Train", training(server, steps=40)).job.id

    with ThreadPoolExecutor(100) as pool:
        ends = list(pool.map(server.ended, [job_id] * 100))

    assert {(end.id, end.state) for end in ends} == {(job_id, job_pb2.JOB_STATE_SUCCEEDED)}


def test_short_calls_are_answered_while_objects_stream(start: Start) -> None:
    server = start()
    seconds = []
    call = server.stream("PredictRegion", region(server, chunks=2000))
    reading = threading.Thread(target=lambda: [None for _ in call])
    reading.start()

    while reading.is_alive():
        begin = time.monotonic()
        server.call("GetServer", server_pb2.GetServerRequest())
        seconds.append(time.monotonic() - begin)

    assert len(seconds) > 20
    assert sorted(seconds)[len(seconds) // 2] < 0.5


def test_entries_and_classes_of_a_project_come_in_pages(start: Start, data_dir: Path) -> None:
    source = data_dir / "made" / "qp-0.6.0"
    project = str(next(source.rglob("*.qpproj")))
    server = start(f'roots = ["{data_dir}"]')

    def page(method: str, kind: Any, token: str) -> Any:
        return server.call(method, kind(project=project, page_size=1, page_token=token))

    for method, kind, field in (
        ("ListEntries", project_pb2.ListEntriesRequest, "entries"),
        ("ListClasses", project_pb2.ListClassesRequest, "classes"),
    ):
        names, answer = [], page(method, kind, "")
        names += [one.name for one in getattr(answer, field)]
        while answer.next_page_token:
            answer = page(method, kind, answer.next_page_token)
            names += [one.name for one in getattr(answer, field)]
        whole = server.call(method, kind(project=project))
        assert names == [one.name for one in getattr(whole, field)]
        assert len(names) > 1


@pytest.mark.slow
def test_families_are_listed_without_a_model_at_hand(start: Start) -> None:
    server = start()

    families = server.call("ListFamilies", model_pb2.ListFamiliesRequest()).families
    models = server.call("ListModels", model_pb2.ListModelsRequest())

    assert [family.name for family in families][:1] == ["dmmn"]
    assert families[0].variants[0].parameters > 10**6
    assert {"small"} <= set(families[0].presets)
    assert list(models.models) == []
    with pytest.raises(BundleNotFoundError):
        server.call("GetModel", model_pb2.GetModelRequest(model="none"))


def test_sigterm_lets_running_jobs_end_and_takes_no_more(start: Start) -> None:
    server = start()
    job_id = server.call("Train", training(server, steps=60)).job.id
    waiting = server.call("Train", training(server, out="later")).job.id
    server.until(job_id, lambda job: job.state == job_pb2.JOB_STATE_RUNNING)
    watching = server.stream("WatchJob", job_pb2.WatchJobRequest(job_id=job_id))

    server.process.send_signal(signal.SIGTERM)
    health = health_pb2_grpc.HealthStub(server.channel)
    while health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING:
        time.sleep(0.02)
    with pytest.raises(ServerStoppingError):
        server.call("Train", training(server))
    ends = [event.job.state for event in watching]

    assert ends[-1] == job_pb2.JOB_STATE_SUCCEEDED
    assert server.process.wait(60) == 0
    assert not (server.state / "server.json").exists()
    assert start().ended(waiting).state == job_pb2.JOB_STATE_SUCCEEDED


def test_a_second_signal_leaves_no_time_and_the_next_server_goes_on(start: Start) -> None:
    server = start()
    job_id = server.call("Train", training(server, steps=10_000)).job.id
    server.until(job_id, lambda job: job.progress.done > 2)

    server.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert server.end(signal.SIGINT) == 0

    again = start()
    assert again.until(job_id, lambda job: job.progress.done > 0).state == job_pb2.JOB_STATE_RUNNING
    assert again.call("CancelJob", job_pb2.CancelJobRequest(job_id=job_id)).job.state == job_pb2.JOB_STATE_CANCELLED
