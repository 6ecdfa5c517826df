"""Pages of lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpbridge.errors import InvalidValueError
from qpbridge.jobs.store.paging import PAGE_DEFAULT, PAGE_MAX
from qpbridge.service.servicers.paging import page_of


@given(names=st.lists(st.text(max_size=5), unique=True, max_size=30), size=st.integers(1, 7))
def test_pages_hold_each_member_once_and_in_order(names: list[str], size: int) -> None:
    seen: list[str] = []
    page, token = page_of(names, str, size, "")
    seen += page
    while token:
        assert len(page) == size
        page, token = page_of(names, str, size, token)
        seen += page

    assert seen == names


def test_the_size_has_a_default_and_a_limit() -> None:
    names = list(map(str, range(1000)))

    assert len(page_of(names, str, 0, "")[0]) == PAGE_DEFAULT
    assert len(page_of(names, str, 10**9, "")[0]) == PAGE_MAX
    with pytest.raises(InvalidValueError, match="-1"):
        page_of(names, str, -1, "")


def test_a_page_goes_on_behind_its_member_where_the_list_has_grown() -> None:
    _, token = page_of(["a", "b", "c"], str, 2, "")

    assert page_of(["0", "a", "b", "b2", "c"], str, 2, token) == (["b2", "c"], "")


@pytest.mark.parametrize("token", ["nonsense", "LmE", "LmE=\n", "é", "//8=", "YQ==", "Lng="])
def test_a_token_of_another_list_is_refused(token: str) -> None:
    with pytest.raises(InvalidValueError, match="begin anew"):
        page_of(["a", "b"], str, 1, token)
