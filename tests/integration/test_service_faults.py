"""What becomes of work, and of files, when a server is killed, and when a second one is started."""

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpbridge.v1 import job_pb2, prediction_pb2, training_pb2

Start = Callable[..., Any]


def litter(*folders: Path) -> list[Path]:
    """Return what half-written things are left: their names begin with a dot."""
    return [path for folder in folders for path in folder.rglob(".*")]


def test_a_prediction_goes_on_behind_the_last_slide_after_the_server_was_killed(start: Start) -> None:
    server = start()
    (server.root / "model").mkdir()
    stems = [f"slide{number}" for number in range(60)]
    slides = prediction_pb2.SlidesSource(paths=[str(server.root / f"{stem}.png") for stem in stems])
    out = server.root / "out"
    asked = prediction_pb2.PredictRequest(slides=slides, model=str(server.root / "model"), out=str(out))
    job_id = server.call("Predict", asked).job.id
    server.until(job_id, lambda job: job.progress.done > 3)

    server.end(signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.geojson")}
    again = start()
    job = again.ended(job_id)

    assert len(finished) < 60
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert [one.key for one in job.predict.slides] == stems
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    written = Counter((out / "written.log").read_text().split())
    # The kill may fall between a file and its line in the log.
    assert len(written) >= 59
    assert set(written.values()) == {1}
    assert litter(out) == []


def test_a_training_begins_again_after_the_server_was_killed(start: Start) -> None:
    server = start()
    out = server.root / "m"
    settings = {"steps": "40"}
    asked = training_pb2.TrainRequest(project=str(server.root), out=str(out), family="dmmn", settings=settings)
    job_id = server.call("Train", asked).job.id
    server.until(job_id, lambda job: job.progress.done > 3)

    server.end(signal.SIGKILL)
    is_there_at_once = out.exists()
    again = start()
    job = again.ended(job_id)

    assert not is_there_at_once
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert (out / "weights").stat().st_size == 40
    assert litter(server.root) == []
    assert len(list((server.state / "processes").glob("*.list"))) <= 1  # that of the worker that lives


def test_a_region_whose_server_was_killed_has_failed_and_says_what_to_do(start: Start) -> None:
    server = start()
    asked = prediction_pb2.PredictRegionRequest(
        slide=str(server.root / "a.svs"),
        model=str(server.root),
        region={"width_px": 1, "height_px": 1},
        margin_px=1000,
        smooth_um=0.05,
    )
    call = server.stream("PredictRegion", asked)  # kept: one that is forgotten is cancelled
    job_id = next(call).job.id
    server.until(job_id, lambda job: job.progress.done > 3)

    server.end(signal.SIGKILL)
    job = start().job(job_id)

    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "SERVER_STOPPED"
    assert "submit it again" in job.error.message


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes where Linux lists them")
def test_a_killed_server_leaves_no_worker_behind(start: Start) -> None:
    server = start()
    settings = {"steps": "10000"}
    asked = training_pb2.TrainRequest(project=str(server.root), out="m", family="dmmn", settings=settings)
    job_id = server.call("Train", asked).job.id
    server.until(job_id, lambda job: job.progress.done > 1)
    before = workers_of(server.state)

    server.end(signal.SIGKILL)

    assert before
    for _ in range(1000):
        if not workers_of(server.state):
            break
        time.sleep(0.02)
    assert workers_of(server.state) == []


def workers_of(state: Path) -> list[str]:
    """Return the processes that were started with a state folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(state).encode() in process.read_bytes().split(b"\0"):
                found.append(process.parent.name)
    return found


def test_a_second_server_on_the_same_state_is_refused_and_told_of_the_first(
    start: Start, launch: Callable[..., Any], tmp_path: Path
) -> None:
    server = start()
    port = server.discovery.address.rpartition(":")[2]

    for lines in ((), (f"port = {port}",)):
        second = launch(tmp_path, *lines)
        assert second.wait(60) == 1
        words = second.stderr.read()
        assert "ServerRunningError" in words
        assert f"process {server.process.pid} at {server.discovery.address}" in words
    assert server.call("ListJobs", job_pb2.ListJobsRequest()).next_page_token == ""


def test_a_port_that_somebody_else_has_is_refused(start: Start, launch: Callable[..., Any], tmp_path: Path) -> None:
    server = start()
    port = server.discovery.address.rpartition(":")[2]

    other = launch(tmp_path, f"port = {port}", 'state = "other"')

    assert other.wait(60) == 1
    assert f"cannot listen at 127.0.0.1:{port}" in other.stderr.read()
