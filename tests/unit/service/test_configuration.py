"""The file that says how a server runs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.errors import InvalidValueError, UnknownNameError
from qpbridge.service.configuration import ServerConfiguration, commented_toml


def written(folder: Path, text: str) -> Path:
    path = folder / "server.toml"
    path.write_text(text)
    return path


def test_without_a_file_only_this_machine_is_served_from_where_one_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QPBRIDGE_STATE", str(tmp_path / "state"))

    configuration = ServerConfiguration.load()

    assert configuration.host == "127.0.0.1"
    assert configuration.roots == (tmp_path,)
    assert configuration.models == (tmp_path / "state" / "models",)
    assert not configuration.tls.is_used


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    path = written(tmp_path, 'roots = ["a", "/b", "~/c"]\nstate = "../s"\n[tls]\ncertificate = "c.pem"\nkey = "k.pem"')

    configuration = ServerConfiguration.load(path)

    assert configuration.roots == (tmp_path / "a", Path("/b"), Path.home() / "c")
    assert configuration.state == tmp_path / "../s"
    assert configuration.tls.certificate == tmp_path / "c.pem"


def test_options_win_over_the_file_and_are_relative_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = written(tmp_path, 'port = 1\nroots = ["a"]\nstate = "s"\n[limits]\nobjects_max = 7')

    configuration = ServerConfiguration.load(path, port=2, roots=[Path("b")], host=None)

    assert (configuration.port, configuration.host) == (2, "127.0.0.1")
    assert configuration.roots == (tmp_path / "here" / "b",)
    assert configuration.state == tmp_path / "s"
    assert configuration.limits.objects_max == 7


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot = 1", "unknown key 'prot' in .*server.toml; there are: host, port"),
        ("[limits]\nfoo = 1", r"unknown key 'foo' in \[limits\] of .*there are: message_bytes_max"),
        ("[tls]\nsertificate = 'x'", "there are: certificate, key"),
    ],
)
def test_a_key_that_does_not_exist_is_told_with_those_that_do(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=told):
        ServerConfiguration.load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port = 'x'", "port does not take 'x'"),
        ("port = 70000", "port does not take 70000"),
        ("port = true", "port does not take True"),
        ("roots = []", "roots"),
        ("roots = 'x'", "roots does not take 'x'"),
        ("devices = ['gpu']", "devices.0 does not take 'gpu'"),
        ("grace_s = nan", "grace_s"),
        ("[limits]\nobjects_max = 0", "limits.objects_max does not take 0"),
        ("[logs]\nlevel = 'LOUD'", "logs.level"),
        ("[tls]\ncertificate = 'x'", "belong together"),
        ("[tls]\nclient_authority = 'x'", "encrypts nothing"),
        ("port = ", "is no TOML"),
        ("port = 1\nport = 2", "is no TOML"),
    ],
)
def test_a_value_that_is_not_taken_is_told_with_its_key(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=told):
        ServerConfiguration.load(written(tmp_path, text))


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="print-config"):
        ServerConfiguration.load(tmp_path / "none.toml")


def test_the_printed_file_explains_every_key_and_gives_the_same_again(tmp_path: Path) -> None:
    configuration = ServerConfiguration.load(None, port=7, roots=[tmp_path / 'a "b"\\c'], devices=["cpu", "cuda:1"])

    text = commented_toml(configuration)

    assert ServerConfiguration.load(written(tmp_path, text)) == configuration
    lines = text.splitlines()
    keys = [number for number, line in enumerate(lines) if (line and not line.startswith("# ")) or ' = "..."' in line]
    assert len(keys) == 28
    assert all(lines[number - 1].startswith("# ") for number in keys)


@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20))
def test_any_name_of_a_folder_survives_being_printed(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("toml")
    configuration = ServerConfiguration.load(None, roots=[f"/{name}"])

    assert ServerConfiguration.load(written(folder, commented_toml(configuration))).roots == configuration.roots
