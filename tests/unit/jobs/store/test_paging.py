import base64

import pytest

from qpbridge.errors import InvalidValueError
from qpbridge.jobs.records import JobState
from qpbridge.jobs.store.paging import PAGE_DEFAULT, PAGE_MAX, PageQuery


@pytest.mark.parametrize(("asked", "given"), [(0, PAGE_DEFAULT), (1, 1), (PAGE_MAX, PAGE_MAX), (10**9, PAGE_MAX)])
def test_pages_have_a_default_size_and_a_limit(asked: int, given: int):
    assert PageQuery.of(asked, "", (), ()).size == given


def test_a_negative_size_is_refused():
    with pytest.raises(InvalidValueError, match="cannot hold -1 jobs"):
        PageQuery.of(-1, "", (), ())


def test_a_token_leads_to_the_next_page_of_the_same_list():
    states, kinds = [JobState.FAILED, JobState.QUEUED], ["b", "a"]
    token = PageQuery.of(5, "", states, kinds).token_after(42)

    assert PageQuery.of(7, token, states[::-1], kinds[::-1]).before == 42
    with pytest.raises(InvalidValueError, match="was not given out for this list"):
        PageQuery.of(5, token, states, ["a"])
    with pytest.raises(InvalidValueError, match="was not given out for this list"):
        PageQuery.of(5, token, (), kinds)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "token", ["x", "ä", "====", encoded("1"), encoded("x.0"), encoded("-5.0"), encoded(f"{10**30}.0")]
)
def test_a_damaged_token_is_refused(token: str):
    with pytest.raises(InvalidValueError, match="page token"):
        PageQuery.of(5, token, (), ())


def test_numbers_from_outside_never_reach_the_database():
    query = PageQuery.of(5, PageQuery.of(5, "", (), ()).token_after(2**62), (), ())
    assert query.before == 2**62

    mark = PageQuery.of(5, "", (), ()).token_after(1)
    huge = base64.urlsafe_b64decode(mark).decode().replace("1.", f"{2**64}.", 1)
    with pytest.raises(InvalidValueError):
        PageQuery.of(5, encoded(huge), (), ())


def test_marks_and_values_agree():
    for states, kinds in [((), ()), (tuple(JobState), ()), ((), ("a",)), (tuple(JobState), ("a", "b'"))]:
        query = PageQuery.of(3, "", states, kinds)

        assert query.sql("id").count("?") == len(query.values())
        assert "b'" not in query.sql("id")
