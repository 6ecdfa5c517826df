"""What a client says of itself with each call, beside the message."""

from typing import Final

AUTHORIZATION: Final = "authorization"
"""Key of the token: ``Bearer TOKEN``."""

BEARER: Final = "Bearer "
"""Begins the value of ``AUTHORIZATION``."""

CLIENT: Final = "qpbridge-client"
"""Key of the client's name, such as ``anna@lab7``, in ASCII; clients of different names take turns."""
