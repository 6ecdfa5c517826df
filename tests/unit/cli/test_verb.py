from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from qpbridge.cli.verb import Verb, completed, verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    sides: Annotated[int, typer.Option("--sides", help="How many.")] = 4
    label: Annotated[str | None, typer.Option("--label", help="Written on it.")] = None


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def app(seen: list[Any]) -> typer.Typer:
    made = typer.Typer()

    @made.command(cls=Verb)
    @verb
    def draw(
        path: Annotated[Path, typer.Argument()],
        server: Annotated[str | None, typer.Option("--server")] = None,
        *,
        shape: Shape,
    ) -> None:
        """Draw a shape."""
        seen.append((path, server, shape))

    return made


def test_a_record_of_options_is_spelled_out_on_the_command_line(app: typer.Typer, seen: list[Any]) -> None:
    assert CliRunner().invoke(app, ["a", "--sides", "6"]).exit_code == 0
    assert CliRunner().invoke(app, ["b", "--label", "x"]).exit_code == 0

    assert seen == [(Path("a"), None, Shape(sides=6)), (Path("b"), None, Shape(label="x"))]


def test_help_knows_the_options_of_a_record(app: typer.Typer) -> None:
    told = CliRunner().invoke(app, ["--help"]).output

    assert "Draw a shape." in told
    assert "--sides" in told
    assert "How many." in told


@pytest.mark.parametrize(
    ("words", "path", "server"),
    [
        (["p", "--server"], "p", "auto"),
        (["--server", "p"], "p", "auto"),
        (["--server", "./data/a:b", "--sides", "3"], "./data/a:b", "auto"),
        (["--server", "auto", "p"], "p", "auto"),
        (["--server", "localhost:80", "p"], "p", "localhost:80"),
        (["--server", "gpu-1.lab:50051", "p"], "p", "gpu-1.lab:50051"),
        (["--server", "[::1]:80", "p"], "p", "[::1]:80"),
        (["--server=gpu:1", "p"], "p", "gpu:1"),
        (["p"], "p", None),
    ],
)
def test_a_server_may_stand_without_an_address(
    words: list[str], path: str, server: str | None, app: typer.Typer, seen: list[Any]
) -> None:
    assert CliRunner().invoke(app, words).exit_code == 0

    assert seen[0][:2] == (Path(path), server)


def test_no_words_stay_none() -> None:
    assert list(completed([])) == []
