import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qpbridge import __version__
from qpbridge.cli.app import app

ROOT = Path(__file__).parent.parent.parent.parent
VERBS = ("demo", "inspect", "export", "train", "predict", "evaluate", "serve", "models", "jobs", "doctor")
GROUPS = ("models", "jobs")
GROUPED = ("models list", "models show", "models export", "jobs list", "jobs watch", "jobs cancel", "jobs fetch")
SINGLE = [*(verb for verb in VERBS if verb not in GROUPS), *GROUPED]


def help_of(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    return " ".join(result.output.split())


def test_help_lists_every_verb_and_the_exit_codes() -> None:
    listed = help_of()

    assert all(f" {verb} " in listed for verb in VERBS)
    assert "0 done, 1 failed, 2 bad usage, 3 partly done" in listed


@pytest.mark.parametrize("verb", [*VERBS, *GROUPED])
def test_every_verb_explains_itself(verb: str) -> None:
    assert f"Usage: qpbridge {verb}" in help_of(*verb.split()).replace("root", "qpbridge")


@pytest.mark.parametrize("verb", [verb for verb in SINGLE if verb != "serve"])
def test_every_verb_can_be_left_to_a_server(verb: str) -> None:
    options = help_of(*verb.split())

    assert "--server [HOST:PORT]" in options
    assert "--token-file" in options


@pytest.mark.parametrize("verb", SINGLE)
def test_every_verb_speaks_json_and_shows_traces_on_request(verb: str) -> None:
    options = help_of(*verb.split())

    assert "--json" in options
    assert "--debug" in options
    assert "QPBRIDGE_DEBUG" in options


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert CliRunner().invoke(app, ["--version"]).output == f"qpbridge {__version__}\n"
    assert project["version"] == __version__


@pytest.mark.parametrize("words", [["trian"], ["train"], ["inspect", "p", "--no-such-option"]])
def test_a_command_line_that_does_not_parse_is_bad_usage(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2


def test_the_readme_names_only_verbs_and_options_that_exist() -> None:
    lines = re.findall(r"uv run qpbridge ([^`\n]+)", (ROOT / "README.md").read_text())
    assert len(lines) >= 8

    for line in lines:
        words = line.split()
        verb = words[:2] if words[0] in GROUPS else words[:1]
        known = help_of(*verb)
        assert all(word in known for word in words if word.startswith("--"))
