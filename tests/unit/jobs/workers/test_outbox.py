import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from qpbridge.jobs.workers.messages import FromWorker, Reported, Warned, heard
from qpbridge.jobs.workers.outbox import Outbox


def at(stage: str, done: int) -> Reported:
    return Reported(stage, done, 1000, {})


class Server:
    """The other end of a connection."""

    def __init__(self) -> None:
        self.connection, self.theirs = socket.socketpair()
        self.lost = threading.Event()

    def all_said(self) -> list[FromWorker]:
        async def listen() -> list[FromWorker]:
            reader, writer = await asyncio.open_unix_connection(sock=self.connection)
            said = []
            while (message := await heard(reader)) is not None:
                said.append(message)
            writer.close()
            return said

        self.theirs.shutdown(socket.SHUT_WR)
        return asyncio.run(listen())


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.connection.close()
    server.theirs.close()


def test_messages_come_in_order_behind_the_reports_before_them(server: Server):
    outbox = Outbox(server.theirs, server.lost.set)
    outbox.send(Warned("one"))
    outbox.report(at("a", 1))
    outbox.send(Warned("two"))

    assert server.all_said() == [Warned("one"), at("a", 1), Warned("two")]


def test_many_reports_become_few_and_the_newest_is_among_them(server: Server):
    outbox = Outbox(server.theirs, server.lost.set)
    for done in range(10_000):
        outbox.report(at("slides", done // 1000))
        outbox.report(at("predict", done))
    outbox.send(Warned("end"))

    said = server.all_said()
    assert len(said) < 1000
    assert said[-3:] == [at("slides", 9), at("predict", 9999), Warned("end")]


def test_a_lone_report_needs_no_other_message_to_go_out(server: Server):
    outbox = Outbox(server.theirs, server.lost.set)
    server.connection.settimeout(30)
    outbox.report(at("a", 1))

    assert server.connection.recv(4)


def test_the_end_of_the_server_is_noticed(server: Server):
    outbox = Outbox(server.theirs, server.lost.set)
    server.connection.close()

    outbox.send(Warned("anybody there?"))

    assert server.lost.wait(30)
