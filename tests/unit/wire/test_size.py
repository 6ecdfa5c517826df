import pytest

from qpbridge.errors import TooLargeError
from qpbridge.wire.size import check_amount, check_size


def test_a_message_may_be_as_large_as_the_limit() -> None:
    check_size(100_000, 100_000)

    with pytest.raises(TooLargeError, match="100,001 bytes, and this server takes 100,000 at once: send less"):
        check_size(100_001, 100_000)


def test_more_than_a_server_takes_is_told_with_what_to_do() -> None:
    check_amount(3, 3, "objects", "draw fewer")

    with pytest.raises(TooLargeError, match="brings 4 objects, and this server takes 3 at once: draw fewer"):
        check_amount(4, 3, "objects", "draw fewer")
