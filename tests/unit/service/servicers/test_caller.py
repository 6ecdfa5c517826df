"""Who asks."""

import pytest

from qpbridge.service.servicers.caller import CLIENT_LENGTH_MAX, caller_named


@pytest.mark.parametrize(
    ("name", "shown"),
    [("anna", "anna"), ("a\nb\x1b", "ab"), ("", "10.0.0.1"), ("\0", "10.0.0.1"), ("x" * 999, "x" * CLIENT_LENGTH_MAX)],
)
def test_a_client_is_called_as_it_calls_itself_as_far_as_that_can_be_shown(name: str, shown: str) -> None:
    assert caller_named(name, "10.0.0.1").client == shown
