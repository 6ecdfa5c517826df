"""The one file that says how a server runs: TOML, each key checked, each with a default."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from qpbridge.errors import InvalidValueError, UnknownNameError
from qpbridge.jobs.store.state_folder import default_state_folder

_MIB: Final = 2**20


def _place(value: object, info: ValidationInfo) -> object:
    """Return a path as absolute: one in a file is relative to the file's folder."""
    if not isinstance(value, str | Path):
        return value
    base: Path = (info.context or {}).get("base") or Path.cwd()
    return base / Path(value).expanduser()


Place = Annotated[Path, BeforeValidator(_place)]


class Table(BaseModel):
    """A table of the file: no key but its own, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Tls(Table):
    """Encryption; without certificate and key there is none, and only this machine is served."""

    certificate: Place | None = None
    """PEM file of the server's certificate, with those between it and its authority."""

    key: Place | None = None
    """PEM file of the certificate's private key."""

    authority: Place | None = None
    """PEM file of what clients on this machine trust; the certificate itself where absent."""

    client_authority: Place | None = None
    """PEM file of who signs the certificates of clients; where given, clients must show one (mutual TLS)."""

    @property
    def is_used(self) -> bool:
        """Whether connections are encrypted."""
        return self.certificate is not None

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both, or neither")
        if self.certificate is None and (self.authority or self.client_authority):
            raise ValueError("an authority encrypts nothing; give certificate and key, too")
        return self


class Limits(Table):
    """How much the server takes; what is more is refused with these numbers."""

    message_bytes_max: Annotated[int, Field(ge=64 * 1024, le=1024 * _MIB)] = 64 * _MIB
    """Of one message of a client, bytes."""

    vertices_max: Annotated[int, Field(ge=1)] = 2_000_000
    """Vertices of the annotations in one request."""

    objects_max: Annotated[int, Field(ge=1)] = 200_000
    """Objects of the annotations in one request."""

    queued_jobs_max: Annotated[int, Field(ge=1)] = 100
    """Jobs that may wait."""

    streams_max: Annotated[int, Field(ge=1)] = 256
    """Streams at once: watched jobs, regions, files of results."""

    free_disk_bytes_min: Annotated[int, Field(ge=0)] = 1024 * _MIB
    """Free space, where a job writes and in the state folder, below which no work begins, bytes."""


class Logs(Table):
    """The server's own log, logs/server.log in the state folder: one JSON object a line."""

    level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    """DEBUG (each call), INFO (each job), WARNING or ERROR."""

    bytes_max: Annotated[int, Field(ge=64 * 1024)] = 5 * _MIB
    """Size at which a new file begins, bytes."""

    files_max: Annotated[int, Field(ge=1)] = 5
    """Older files that are kept."""


def _state_folder() -> Path:
    return default_state_folder()


class ServerConfiguration(Table):
    """How a server runs."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen at; any other than this machine's own (127.0.0.1, ::1, localhost) needs [tls]."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of gRPC; 0 takes a free one, which clients of the same user find by the discovery file."""

    http: bool = True
    """Whether scripts may ask by HTTP and JSON, too, as those for QuPath do, and curl."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of HTTP; 0 takes a free one, which scripts of the same user find by the discovery file."""

    http_hosts: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names by which others call this machine, besides its own; calls for any other name are refused."""

    roots: Annotated[tuple[Place, ...], Field(min_length=1, strict=False)] = Field(
        default_factory=lambda: (Path.cwd(),)
    )
    """Folders that requests may name files in, to read and to write; by default the one the server starts in."""

    model_folders: Annotated[tuple[Place, ...], Field(strict=False)] = ()
    """Folders that models are looked for in by name; new ones go to the first. "models" in the state folder if none."""

    state: Place = Field(default_factory=_state_folder)
    """Folder of journal, discovery file and logs; QPBRIDGE_STATE or the user's own by default."""

    devices: Annotated[tuple[Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda:\d+)$")], ...], Field(strict=False)] = (
        "auto",
    )
    """Devices that jobs run on, one worker each: "cpu", "cuda:0", "mps"; "auto" means all GPUs, or else the CPU.
    A device that is named twice has two workers, so that a region is predicted while a network is trained."""

    prewarm: bool = True
    """Whether workers load their libraries at the start of the server and not at the first job."""

    grace_s: Annotated[float, Field(ge=0, strict=False)] = 30.0
    """How long running jobs may go on after SIGTERM, s; then they are stopped, and go on later where they can."""

    kept_jobs_max: Annotated[int, Field(ge=1)] = 10_000
    """Ended jobs that the journal keeps."""

    tls: Tls = Field(default_factory=Tls)
    """Encryption; without certificate and key there is none, and only this machine is served."""

    limits: Limits = Field(default_factory=Limits)
    """How much the server takes; what is more is refused with these numbers."""

    logs: Logs = Field(default_factory=Logs)
    """The server's own log, logs/server.log in the state folder: one JSON object a line."""

    @classmethod
    def load(cls, path: Path | None = None, **overrides: Any) -> Self:
        """Read a configuration.

        Parameters
        ----------
        path : Path or None
            TOML; all defaults where None. Relative paths in it are relative to its folder.
        **overrides
            Values of single keys that win over the file's, as from the command line, or a mapping of such for a table;
            None counts as not given. Relative paths are relative to the working directory.

        Raises
        ------
        UnknownNameError
            If there is a key that does not exist; lists those that do.
        InvalidValueError
            If a key does not take its value, or the file is missing or no TOML.
        """
        values = {} if path is None else _parsed(path)
        try:
            in_file = cls.model_validate(values, context={"base": None if path is None else path.absolute().parent})
            return cls.model_validate(_overridden(in_file, overrides))
        except ValidationError as error:
            raise _told(error, "the options" if path is None else str(path)) from error

    @property
    def models(self) -> tuple[Path, ...]:
        """The folders that models are looked for in."""
        return self.model_folders or (self.state / "models",)


def commented_toml(configuration: ServerConfiguration) -> str:
    """Return a configuration as a complete file that explains each of its keys; reading it gives the same again."""
    return "\n".join(_lines(configuration, ServerConfiguration.model_fields, "")) + "\n"


def _lines(values: Table, fields: Mapping[str, FieldInfo], prefix: str) -> Iterator[str]:
    for name, field in fields.items():
        value = getattr(values, name)
        yield from ("", *_comment(field.description or ""))
        if isinstance(value, Table):
            yield f"[{prefix}{name}]"
            yield from _lines(value, type(value).model_fields, f"{prefix}{name}.")
        elif value is None:
            yield f'# {name} = "..."'
        else:
            yield f"{name} = {_toml(value)}"


def _comment(text: str) -> Iterator[str]:
    return (f"# {line.strip()}" for line in text.splitlines())


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # The same escapes as in JSON, but for one character that TOML does not take as it is.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _overridden(table: Table, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table was given, and over it what else was."""
    values = {name: getattr(table, name) for name in table.model_fields_set}
    for name, value in overrides.items():
        if isinstance(value, Mapping):
            values[name] = _overridden(getattr(table, name), value)
        elif value is not None:
            values[name] = value
    return values


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValueError(
            f"the configuration {path} cannot be read ({error.strerror}); `qpbridge serve --print-config` prints one"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"the configuration {path} is no TOML: {error}") from error


def _told(error: ValidationError, where: str) -> InvalidValueError | UnknownNameError:
    details = error.errors()
    for detail in details:
        if detail["type"] == "extra_forbidden":
            *table, name = map(str, detail["loc"])
            return UnknownNameError("key", name, _known(table), f"[{'.'.join(table)}] of {where}" if table else where)
    return InvalidValueError(f"{where}: " + "; ".join(map(_sentence, details)))


def _known(table: list[str]) -> list[str]:
    fields: Mapping[str, FieldInfo] = ServerConfiguration.model_fields
    for name in table:
        kind = fields[name].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Table)
        fields = kind.model_fields
    return list(fields)


def _sentence(detail: ErrorDetails) -> str:
    key = ".".join(map(str, detail["loc"]))
    return f"{key} does not take {detail['input']!r}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
