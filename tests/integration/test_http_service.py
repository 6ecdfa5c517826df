"""The door of HTTP of a real server: the same jobs, the same refusals, and files that come whole."""

import base64
import contextlib
import http.client
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qpbridge.errors import PathRefusedError, QpbridgeError, TooLargeError
from qpbridge.v1 import job_pb2, model_pb2, prediction_pb2, training_pb2
from qpbridge.wire.connect import error_of_json
from qpbridge.wire.metadata import AUTHORIZATION, BEARER

Start = Callable[..., Any]


@dataclass
class Scripts:
    """Asks as a script does."""

    server: Any

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.server.discovery.http_address, timeout=60)

    @contextlib.contextmanager
    def sent(self, path: str, content: bytes, kind: str = "application/json", verb: str = "POST") -> Iterator[Any]:
        with contextlib.closing(self.connection()) as connection:
            headers = {AUTHORIZATION: BEARER + self.server.discovery.token, "content-type": kind}
            connection.request(verb, path, content or None, headers)
            with connection.getresponse() as answer:
                yield answer

    def call(self, method: str, **fields: Any) -> Any:
        with self.sent(f"/qpbridge.v1.{method}", json.dumps(fields).encode()) as answer:
            told = json.loads(answer.read())
            if answer.status != 200:
                raise error_of_json(told)
            return told

    def stream(self, method: str, **fields: Any) -> Iterator[Any]:
        content = json.dumps(fields).encode()
        framed = struct.pack(">BI", 0, len(content)) + content
        with self.sent(f"/qpbridge.v1.{method}", framed, "application/connect+json") as answer:
            while head := answer.read(5):
                flags, length = struct.unpack(">BI", head)
                told = json.loads(answer.read(length))
                if "error" in told:
                    raise error_of_json(told["error"])
                if flags & 2:
                    return
                yield told

    def download(self, path: str) -> tuple[int, bytes]:
        with self.sent(path, b"", verb="GET") as answer:
            return answer.status, answer.read()


def train(scripts: Scripts, steps: int) -> str:
    asked = {"project": str(scripts.server.root), "out": "m", "family": "f", "settings": {"steps": str(steps)}}
    return str(scripts.call("TrainingService/Train", **asked)["job"]["id"])


def test_a_training_is_begun_watched_and_found_at_the_other_door(start: Start) -> None:
    scripts = Scripts(start())
    job_id = train(scripts, 3)

    states = [event["job"] for event in scripts.stream("JobService/WatchJob", jobId=job_id)]

    assert states[-1]["state"] == "JOB_STATE_SUCCEEDED"
    assert states[-1]["train"]["classes"] == ["A", "B"]
    assert any(state.get("progress", {}).get("stage") == "train" for state in states)
    assert scripts.server.job(job_id).train.digest == "f00d"


def test_a_job_is_cancelled(start: Start) -> None:
    scripts = Scripts(start())
    job_id = train(scripts, 10_000)
    with contextlib.closing(scripts.stream("JobService/WatchJob", jobId=job_id)) as events:
        next(event for event in events if event["job"]["state"] == "JOB_STATE_RUNNING")

    assert scripts.call("JobService/CancelJob", jobId=job_id)["job"]["state"] == "JOB_STATE_CANCELLED"


def test_a_region_is_predicted_and_stops_when_nobody_listens(start: Start) -> None:
    scripts = Scripts(start())
    (scripts.server.root / "model").mkdir()
    asked = {
        "slide": str(scripts.server.root / "a.svs"),
        "model": str(scripts.server.root / "model"),
        "region": {"xPx": 0, "yPx": 0, "widthPx": 1, "heightPx": 1},
    }

    events = list(scripts.stream("PredictionService/PredictRegion", **asked, marginPx=3, smoothUm=0.01))
    assert events[-1]["finished"]["objects"] == "3000"
    assert sum(int(event["objects"]["count"]) for event in events if "objects" in event) == 3000

    endless = scripts.stream("PredictionService/PredictRegion", **asked, marginPx=10_000, smoothUm=0.05)
    job_id = next(event["job"]["id"] for event in endless if "job" in event)
    endless.close()
    scripts.server.until(job_id, lambda job: job.state == job_pb2.JOB_STATE_CANCELLED)


def test_results_are_plain_downloads_of_what_the_other_door_sends(start: Start) -> None:
    scripts = Scripts(start())
    (scripts.server.root / "model").mkdir()
    request = prediction_pb2.PredictRequest(
        slides={"paths": [str(scripts.server.root / "a b.svs")]}, model=str(scripts.server.root / "model")
    )
    job = scripts.server.ended(scripts.server.call("Predict", request).job.id)
    file = Path(job.predict.slides[0].file)

    for entry in ("a%20b", "a%20b.svs"):
        assert scripts.download(f"/v1/jobs/{job.id}/results/{entry}.geojson") == (200, file.read_bytes())
    file.unlink()
    status, content = scripts.download(f"/v1/jobs/{job.id}/results/a%20b.geojson.gz")
    assert (status, error_of_json(json.loads(content)).reason) == (404, "PREDICTION_NOT_FOUND")


class TestWhatIsRefused:
    def test_places_outside_the_roots(self, start: Start, tmp_path: Path) -> None:
        scripts = Scripts(start())
        (scripts.server.root / "link").symlink_to(tmp_path)

        for path in ("/etc", str(tmp_path), str(scripts.server.root / "link"), f"{scripts.server.root}/../.."):
            with pytest.raises(PathRefusedError, match="outside the folders"):
                scripts.call("TrainingService/Train", project=path, out="m", family="f")
            with pytest.raises(PathRefusedError):
                scripts.call("ProjectService/InspectProject", project=path)

    def test_a_result_whose_file_became_a_link_out(self, start: Start, tmp_path: Path) -> None:
        scripts = Scripts(start())
        (scripts.server.root / "model").mkdir()
        request = prediction_pb2.PredictRequest(
            slides={"paths": [str(scripts.server.root / "a.svs")]}, model=str(scripts.server.root / "model")
        )
        job = scripts.server.ended(scripts.server.call("Predict", request).job.id)
        file = Path(job.predict.slides[0].file)
        (tmp_path / "secret").write_text("s3cret")
        file.unlink()
        file.symlink_to(tmp_path / "secret")

        status, content = scripts.download(f"/v1/jobs/{job.id}/results/a.geojson")

        assert (status, error_of_json(json.loads(content)).reason) == (403, "PATH_REFUSED")
        assert b"s3cret" not in content

    def test_more_than_the_limits_allow(self, start: Start) -> None:
        scripts = Scripts(start("[limits]", "objects_max = 2", "message_bytes_max = 100000"))
        point = '{"type":"Point","coordinates":[0,0]}'
        drawn = {"entry": "a", "geojson": _base64(f"[{','.join([point] * 3)}]")}
        asked = {"project": str(scripts.server.root), "out": "m", "family": "f"}

        with pytest.raises(TooLargeError, match="3 objects, and this server takes 2"):
            scripts.call("TrainingService/Train", **asked, annotations=[drawn])
        with pytest.raises(TooLargeError, match="takes 100,000 at once"):
            scripts.call("TrainingService/Train", **asked, preset="x" * 200_000)

    def test_every_method_without_the_token_and_from_a_page(self, start: Start) -> None:
        scripts = Scripts(start())
        paths = [f"/{method.containing_service.full_name}/{method.name}" for method in _methods()]

        for path in paths:
            for headers in ({}, {AUTHORIZATION: BEARER + scripts.server.discovery.token, "origin": "http://x"}):
                with contextlib.closing(scripts.connection()) as connection:
                    connection.request("POST", path, b"{}", {"content-type": "application/json", **headers})
                    with connection.getresponse() as answer:
                        assert answer.status == (403 if headers else 401), path
                        assert isinstance(error_of_json(json.loads(answer.read())), QpbridgeError)
        assert len(paths) > 10
        assert scripts.call("ModelService/ListModels") == {}


def _methods() -> Iterator[Any]:
    for proto in (job_pb2, model_pb2, prediction_pb2, training_pb2):
        for service in proto.DESCRIPTOR.services_by_name.values():
            yield from service.methods


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
