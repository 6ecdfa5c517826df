"""The verb that runs a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qpbridge.cli import options
from qpbridge.cli.output import print_json
from qpbridge.cli.running import errors_told
from qpbridge.cli.verb import verb

if TYPE_CHECKING:
    from qpbridge.service.configuration import ServerConfiguration
    from qpbridge.wire.discovery import Discovery


@verb
def serve(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", help="Says all of it; options here win over it.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen at; others than 127.0.0.1 need TLS.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen at; 0 takes a free one.")] = None,
    http_port: Annotated[
        int | None, typer.Option("--http-port", help="Port for scripts (HTTP/JSON); 0 takes a free one.")
    ] = None,
    http: Annotated[
        bool | None, typer.Option("--http/--no-http", help="Whether there is such a port; default: yes.")
    ] = None,
    roots: Annotated[
        list[Path] | None,
        typer.Option("--root", metavar="DIR", help="Folder that it may read and write; repeatable; default: this one."),
    ] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", metavar="DIR", help="Folder of models by name; repeatable; new ones go to the first."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Folder of journal, token and logs; or set QPBRIDGE_STATE."),
    ] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="auto|cpu|cuda:N|mps", help="Where jobs run; repeatable; auto: all GPUs."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate to encrypt with, PEM.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Private key of it, PEM.")] = None,
    ends_with_stdin: Annotated[
        bool,
        typer.Option(
            "--end-with-stdin", help="End with standard input, too: for a program that starts its own server."
        ),
    ] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the configuration, each key explained, and end.")
    ] = False,
    *,
    output: options.Output,
) -> None:
    """Run a server until Ctrl-C or SIGTERM.

    Programs of the same user on this machine find it by themselves: qpbridge VERB --server.
    """
    with errors_told(output):
        from qpbridge.service.configuration import ServerConfiguration, commented_toml

        configuration = ServerConfiguration.load(
            config,
            host=host,
            port=port,
            http_port=http_port,
            http=http,
            roots=_paths(roots),
            model_folders=_paths(models),
            state=state,
            devices=tuple(devices) if devices else None,
            tls={"certificate": certificate, "key": key},
        )
        if print_config:
            typer.echo(commented_toml(configuration), nl=False)
        else:
            _run(configuration, output, ends_with_stdin)


def _run(configuration: ServerConfiguration, output: options.Output, ends_with_stdin: bool) -> None:
    from qpbridge.service.running import end_with_stdin
    from qpbridge.service.running import serve as run
    from qpbridge.wire.discovery import FILE

    def tell(discovery: Discovery) -> None:
        file = configuration.state / FILE
        if output.as_json:
            addresses = {"address": discovery.address, "http_address": discovery.http_address}
            print_json({**addresses, "pid": discovery.pid, "discovery": str(file)})
        else:
            scripts = "" if discovery.http_address is None else f", for scripts at {discovery.http_address}"
            typer.echo(f"listening at {discovery.address}{scripts}; address and token are in {file}; Ctrl-C ends it")

    if ends_with_stdin:
        end_with_stdin()
    run(configuration, tell)


def _paths(given: list[Path] | None) -> tuple[Path, ...] | None:
    return tuple(given) if given else None
