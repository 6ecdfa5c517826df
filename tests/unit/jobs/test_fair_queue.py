import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.jobs.fair_queue import CLIENTS_REMEMBERED, FairQueue, Ticket, suits, suits_any


def ticket(job_id: str, client: str = "ann", device: str = "auto", is_interactive: bool = False) -> Ticket:
    return Ticket(job_id=job_id, client=client, device=device, is_interactive=is_interactive)


def filled(*tickets: Ticket) -> FairQueue:
    queue = FairQueue()
    for one in tickets:
        queue.add(one)
    return queue


def order(queue: FairQueue, device: str = "cpu") -> list[str]:
    taken = []
    while (one := queue.take(device)) is not None:
        taken.append(one.job_id)
    return taken


def test_jobs_of_one_client_come_in_their_order():
    assert order(filled(ticket("1"), ticket("2"), ticket("3"))) == ["1", "2", "3"]


def test_clients_take_turns():
    queue = filled(*(ticket(f"a{n}") for n in range(4)), ticket("b0", "bob"), ticket("b1", "bob"), ticket("c0", "cid"))

    assert order(queue) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_who_asks_again_and_again_does_not_pass_who_waits():
    queue = filled(*(ticket(f"a{n}") for n in range(3)))
    taken = []
    for number in range(3):
        queue.add(ticket(f"b{number}", "bob"))
        taken += [queue.take("cpu").job_id, queue.take("cpu").job_id]

    assert sorted(taken[:2]) == ["a0", "b0"]
    assert sorted(taken[2:4]) == ["a1", "b1"]


def test_interactive_jobs_pass_all_others_and_cost_no_turn():
    queue = filled(
        ticket("a0"), ticket("b0", "bob"), ticket("a!", is_interactive=True), ticket("b!", "bob", is_interactive=True)
    )

    assert order(queue) == ["a!", "b!", "a0", "b0"]


def test_a_device_takes_what_suits_it():
    queue = filled(ticket("1", device="cuda:1"), ticket("2", device="cpu"), ticket("3", device="cuda"), ticket("4"))

    assert queue.take("cuda:0").job_id == "3"
    assert order(queue, "cpu") == ["2", "4"]
    assert queue.take("cpu") is None
    assert order(queue, "cuda:1") == ["1"]


@pytest.mark.parametrize(
    ("wanted", "device", "is_suited"),
    [
        ("auto", "mps", True),
        ("cuda", "cuda:3", True),
        ("cuda:3", "cuda:3", True),
        ("cuda:3", "cuda:30", False),
        ("cuda:3", "cuda", False),
        ("cpu", "cuda:0", False),
    ],
)
def test_a_device_suits_where_it_is_the_one_or_of_the_kind(wanted: str, device: str, is_suited: bool):
    assert suits(wanted, device) is is_suited
    assert suits_any(wanted, ["other", device]) is is_suited
    assert not suits_any(wanted, [])


def test_a_job_waits_no_longer_once_it_is_removed():
    queue = filled(ticket("1"), ticket("2"))

    assert queue.remove("1")
    assert not queue.remove("1")
    assert len(queue) == 1
    assert order(queue) == ["2"]


def test_turns_of_many_clients_take_no_memory_without_end():
    queue = FairQueue()
    for number in range(2 * CLIENTS_REMEMBERED):
        queue.add(ticket("x", client=str(number)))
        queue.take("cpu")

    assert len(queue._turns) == CLIENTS_REMEMBERED


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_no_client_waits_longer_than_all_others_take_one_turn_each(clients: list[int]):
    queue = filled(*(ticket(f"{number}", client=str(client)) for number, client in enumerate(clients)))
    turns = [clients[int(job)] for job in order(queue)]

    assert sorted(turns) == sorted(clients)
    for position in range(len(turns)):
        waiting = set(turns[position:])
        assert set(turns[position : position + len(waiting)]) == waiting
