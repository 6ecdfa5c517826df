"""Attempts to make a server do what it must not: each is refused, and says what would be taken."""

import ast
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from qpbridge.errors import (
    InvalidValueError,
    PathRefusedError,
    TokenRefusedError,
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
from qpbridge.wire.metadata import AUTHORIZATION, BEARER

Start = Callable[..., Any]
PACKAGE = Path(__file__).parent.parent.parent / "qpbridge"
PROTOS = (evaluation_pb2, job_pb2, model_pb2, prediction_pb2, project_pb2, server_pb2, training_pb2)
REAL_WORK = "qpbridge.workflows.worker:run"


def methods() -> Iterator[Any]:
    for proto in PROTOS:
        for service in proto.DESCRIPTOR.services_by_name.values():
            yield from service.methods


class TestTheToken:
    def test_no_method_is_answered_without_it(self, start: Start) -> None:
        server = start()
        names = [method.name for method in methods()]

        for method in methods():
            ask = server.method(method.name)
            message = method.input_type._concrete_class()
            assert isinstance(
                server.refused(lambda ask=ask, message=message: ask(message, timeout=30)), TokenRefusedError
            )

        assert len(names) > 15

    def test_only_the_question_for_health_goes_without(self, start: Start) -> None:
        server = start()
        health = health_pb2_grpc.HealthStub(server.channel)
        reflected = reflection_pb2_grpc.ServerReflectionStub(server.channel).ServerReflectionInfo
        asked = reflection_pb2.ServerReflectionRequest(list_services="")

        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        assert isinstance(server.refused(lambda: health.Watch(health_pb2.HealthCheckRequest())), TokenRefusedError)
        assert isinstance(server.refused(lambda: reflected(iter([asked]))), TokenRefusedError)

    def test_nothing_but_exactly_it_is_taken(self, start: Start) -> None:
        server = start()
        right = BEARER + server.discovery.token
        ask = server.method("GetServer")

        for shown in (
            [(AUTHORIZATION, "")],
            [(AUTHORIZATION, server.discovery.token)],
            [(AUTHORIZATION, right[:-1])],
            [(AUTHORIZATION, right + "A")],
            [(AUTHORIZATION, right.lower())],
            [(AUTHORIZATION, f"Basic {server.discovery.token}")],
            [(AUTHORIZATION, right), (AUTHORIZATION, "Bearer other")],
            [("token", right)],
            [("authorization-bin", right.encode())],
        ):
            error = server.refused(lambda shown=shown: ask(server_pb2.GetServerRequest(), metadata=shown, timeout=30))
            assert isinstance(error, TokenRefusedError), shown
        assert ask(server_pb2.GetServerRequest(), metadata=[(AUTHORIZATION, right)]).server.version

    def test_it_is_the_owners_alone_and_new_at_each_start(self, start: Start) -> None:
        first = start()
        rights = stat.S_IMODE((first.state / "server.json").stat().st_mode)
        first.end()

        second = start()

        assert rights == 0o600
        assert stat.S_IMODE(second.state.stat().st_mode) == 0o700
        assert first.discovery.token != second.discovery.token
        assert len(second.discovery.token) >= 43

    def test_it_stands_in_no_log(self, start: Start) -> None:
        server = start("[logs]", 'level = "DEBUG"')
        server.call("GetServer", server_pb2.GetServerRequest())
        wrong = [(AUTHORIZATION, f"{BEARER}{server.discovery.token}x")]
        server.refused(lambda: server.method("GetServer")(server_pb2.GetServerRequest(), metadata=wrong))
        named = job_pb2.GetJobRequest(job_id=server.discovery.token)
        server.refused(lambda: server.method("GetJob")(named, metadata=server.metadata))
        asked = training_pb2.TrainRequest(project=str(server.root), out=server.discovery.token[:30], family="x")
        server.ended(server.call("Train", asked).job.id)
        server.end()

        logs = server.logs()

        assert "token refused" in logs
        assert "GetServerRequest" in logs
        assert server.discovery.token not in logs
        assert {stat.S_IMODE(path.stat().st_mode) for path in (server.state / "logs").glob("server*")} == {0o600}


class TestTheAddress:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
    def test_other_machines_are_not_served_in_the_open(
        self, host: str, launch: Callable[..., Any], tmp_path: Path
    ) -> None:
        (tmp_path / "root").mkdir()
        process = launch(tmp_path, f'host = "{host}"')

        assert process.wait(60) == 1
        assert "can be reached from other machines" in process.stderr.read()
        assert not (tmp_path / "state" / "server.json").exists()

    def test_with_tls_nobody_is_served_in_the_open(self, start: Start, tmp_path: Path) -> None:
        authority = certificates(tmp_path)

        server = start('host = "0.0.0.0"', *TLS, channel=lambda found: secure_channel(found.address, authority))
        plain = grpc.insecure_channel(server.discovery.address)

        assert server.discovery.tls_ca == str(tmp_path / "server.pem")
        assert server.call("GetServer", server_pb2.GetServerRequest()).server.version
        with plain, pytest.raises(grpc.RpcError):
            health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert isinstance(
            server.refused(lambda: server.method("GetServer")(server_pb2.GetServerRequest())), TokenRefusedError
        )

    def test_with_mutual_tls_a_token_alone_does_not_do(self, start: Start, tmp_path: Path) -> None:
        authority = certificates(tmp_path)
        lines = (*TLS, 'client_authority = "authority.pem"')
        own, foreign = authority.issue_cert("anna@lab"), trustme.CA().issue_cert("eve@lab")

        server = start(*lines, channel=lambda found: secure_channel(found.address, authority, own))

        assert server.call("GetServer", server_pb2.GetServerRequest()).server.version
        for certificate in (None, foreign):
            channel = secure_channel(server.discovery.address, authority, certificate)
            with channel, pytest.raises(grpc.RpcError):
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


TLS = ("[tls]", 'certificate = "server.pem"', 'key = "key.pem"')


def certificates(folder: Path) -> trustme.CA:
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    server.private_key_pem.write_to_path(str(folder / "key.pem"))
    for part in server.cert_chain_pems:
        part.write_to_path(str(folder / "server.pem"), append=True)
    return authority


def secure_channel(address: str, authority: trustme.CA, own: trustme.LeafCert | None = None) -> grpc.Channel:
    pair = (
        {}
        if own is None
        else {
            "private_key": own.private_key_pem.bytes(),
            "certificate_chain": own.cert_chain_pems[0].bytes(),
        }
    )
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authority.cert_pem.bytes(), **pair))


def outside(server: Any) -> Iterator[str]:
    """Yield texts that mean a place outside the roots of a server, or none on its machine."""
    secret = server.root.parent / "secret"
    secret.mkdir(exist_ok=True)
    link, loop = server.root / "link", server.root / "loop"
    if not link.is_symlink():
        link.symlink_to(secret)
        loop.symlink_to(loop)
        (server.root / "chain").symlink_to(link)
    inside = str(server.root)
    yield from (str(secret), f"{inside}/../secret", f"{inside}/a/../../secret", f"{inside}/./../secret/x")
    yield from (f"{inside}/link", f"{inside}/link/new", f"{inside}/chain/new", f"{inside}/link/../x")
    yield from (f"{inside}x", "/", "/etc/passwd", "/proc/self/root", f"/proc/self/root{secret}")
    yield from (f"file://{secret}", f"FILE:{secret}", f"file://{inside}/%2e%2e/secret", f"file://evil{inside}")
    yield from (f"file://{inside}/a?/../../secret", "http://127.0.0.1/x", "https://evil/x", "s3://b/x", "zip:a!/b")
    yield from ("C:\\slides", "C:/slides", "c:x", "\\\\server\\share", "//server/share", "~", "~root/x")
    yield from ("secret", "./secret", "..", f"{inside}/a\0b", f"file://{inside}/a%00b", f" {inside}")
    yield str(server.state / "server.json")


class TestTheRoots:
    def test_no_field_of_any_request_leads_out_of_them(self, start: Start) -> None:
        server = start()
        good = str(server.root)
        (server.root / "model").mkdir()
        bundle = f"{good}/model"
        span = {"width_px": 1, "height_px": 1}

        def requests(bad: str) -> Iterator[tuple[str, Any]]:
            yield "InspectProject", project_pb2.InspectProjectRequest(project=bad)
            yield "InspectProject", project_pb2.InspectProjectRequest(project=good, path_map=[f"file:/x={bad}"])
            yield "ListEntries", project_pb2.ListEntriesRequest(project=bad)
            yield "ListClasses", project_pb2.ListClassesRequest(project=bad)
            yield "ExportProject", project_pb2.ExportProjectRequest(project=bad, out=good)
            yield "ExportProject", project_pb2.ExportProjectRequest(project=good, out=bad)
            yield "Train", training_pb2.TrainRequest(project=bad, out="m", family="f")
            yield "Predict", prediction_pb2.PredictRequest(project={"project": bad}, model=bundle)
            yield "Predict", prediction_pb2.PredictRequest(slides={"paths": [f"{good}/a", bad]}, model=bundle)
            yield "Predict", prediction_pb2.PredictRequest(slides={"paths": [f"{good}/a"]}, model=bundle, out=bad)
            yield "PredictRegion", prediction_pb2.PredictRegionRequest(slide=bad, model=bundle, region=span)
            yield (
                "PredictRegion",
                prediction_pb2.PredictRegionRequest(entry={"project": bad}, model=bundle, region=span),
            )
            yield "Evaluate", evaluation_pb2.EvaluateRequest(project=good, predictions=bad)
            yield "Evaluate", evaluation_pb2.EvaluateRequest(project=good, model=bundle, out=bad)
            yield "ExportModel", model_pb2.ExportModelRequest(model=bundle, out=bad)

        for bad in outside(server):
            for method, request in requests(bad):
                error = server.refused(lambda m=method, r=request: server.method(m)(r, metadata=server.metadata))
                assert isinstance(error, PathRefusedError), (bad, request, error)
        assert server.call("ListJobs", job_pb2.ListJobsRequest()).jobs == []

    def test_no_name_of_a_model_leads_out_of_them(self, start: Start) -> None:
        server = start()
        (server.state / "models" / "out").symlink_to(server.root.parent)
        paths = [text for text in outside(server) if "/" in text or "\\" in text]

        for bad in ("out", "..", f"../{server.root.name}", *paths):
            for method, request in (
                ("GetModel", model_pb2.GetModelRequest(model=bad)),
                ("Train", training_pb2.TrainRequest(project=str(server.root), out=bad, family="f")),
            ):
                error = server.refused(lambda m=method, r=request: server.method(m)(r, metadata=server.metadata))
                assert isinstance(error, PathRefusedError), (bad, method, error)

    def test_what_lies_in_them_may_be_named_in_several_ways(self, start: Start) -> None:
        server = start()
        (server.root / "inner").mkdir()
        (server.root / "to inner").symlink_to("inner")

        for good in ("inner", "to inner", "inner/../inner", "./to inner/."):
            for text in (f"{server.root}/{good}", f"file://{server.root}/{good}".replace(" ", "%20")):
                asked = project_pb2.InspectProjectRequest(project=text)
                assert server.call("InspectProject", asked).report.project == f"{server.root}/inner"

    def test_files_of_a_slide_or_project_are_not_written_over(self, start: Start) -> None:
        server = start()
        (server.root / "model").mkdir()
        for out in ("a.svs", "project.qpproj", "data.qpdata", "json"):
            asked = evaluation_pb2.EvaluateRequest(
                project=str(server.root), model=f"{server.root}/model", out=f"{server.root}/{out}"
            )
            with pytest.raises(InvalidValueError, match=r"does not end in \.json"):
                server.call("Evaluate", asked)

    @pytest.mark.parametrize("where", ["absolute", "dots", "link", "rule"])
    def test_a_projects_own_uris_lead_nowhere_else(
        self, where: str, start: Start, tmp_path: Path, make_project: Callable[..., Path]
    ) -> None:
        server = start(work=REAL_WORK)
        secret = tmp_path / "secret" / "slide.png"
        link = server.root / "link.png"
        link.symlink_to(secret)
        uris = {
            "absolute": f"file:{secret}",
            "dots": f"file:{server.root}/../secret/slide.png",
            "link": f"file:{link}",
            "rule": "file:/stored/../../secret/slide.png",
        }
        project = make_project(server.root / "project", secret, uris[where])
        rules = [f"/stored={server.root}"] if where == "rule" else []

        asked = project_pb2.InspectProjectRequest(project=str(project), path_map=rules)
        report = server.call("InspectProject", asked).report

        (entry,) = report.entries
        assert [problem.reason for problem in entry.problems] == ["SLIDE_NOT_FOUND"]
        assert "outside the server's roots" in entry.problems[0].message
        assert not entry.image.HasField("slide")

    def test_nothing_is_fetched_for_anybody(
        self, start: Start, tmp_path: Path, make_project: Callable[..., Path]
    ) -> None:
        server = start(work=REAL_WORK)
        visitors = []
        with socket.create_server(("127.0.0.1", 0)) as trap:
            threading.Thread(target=lambda: visitors.append(trap.accept()), daemon=True).start()
            url = f"http://127.0.0.1:{trap.getsockname()[1]}/slide.png"
            project = make_project(server.root / "project", tmp_path / "secret" / "slide.png", url)

            report = server.call("InspectProject", project_pb2.InspectProjectRequest(project=str(project))).report
            error = server.refused(
                lambda: server.method("InspectProject")(
                    project_pb2.InspectProjectRequest(project=url), metadata=server.metadata
                )
            )

        assert report.entries[0].problems
        assert isinstance(error, PathRefusedError)
        assert visitors == []


@pytest.fixture
def make_project() -> Callable[..., Path]:
    """Make a project of one picture that lies somewhere, and is stored as some URI."""

    def make(folder: Path, picture: Path, uri: str) -> Path:
        from PIL import Image

        from qpbridge.core.geometry import PixelCalibration
        from qpbridge.qupath.writing import NewEntry, create_project

        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), "white").save(picture)
        calibration = PixelCalibration.square(0.5)
        entry = NewEntry(
            slide_path=picture,
            name="slide.png",
            width_px=64,
            height_px=64,
            downsamples=(1.0,),
            calibration=calibration,
        )
        create_project(folder, [entry], [])
        for file in folder.rglob("*"):
            if file.suffix in {".json", ".qpproj"}:
                file.write_text(file.read_text().replace(f"file:{picture}", uri))
        assert uri in (folder / "project.qpproj").read_text()
        return folder

    return make


def test_the_server_holds_no_door_for_code() -> None:
    doors = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "urllib.request", "http.client", "requests", "runpy"}
    calls = {"eval", "exec", "compile", "__import__"}
    rooms = ("service", "wire", "jobs", "workflows", "models", "training", "inference", "qupath", "slides")

    found = [
        (path.name, name)
        for room in rooms
        for path in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in names_in(node)
        if name in doors | calls
    ]

    assert found == []


def names_in(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [node.func.id] if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else []


def test_the_environment_of_a_server_reaches_no_client(start: Start) -> None:
    assert "QPBRIDGE_ROOTS" not in os.environ
    server = start()

    about = server.call("GetServer", server_pb2.GetServerRequest()).server

    assert server.discovery.token not in str(about)
