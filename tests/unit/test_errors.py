import inspect

import pytest

from qpbridge import errors
from qpbridge.errors import QpbridgeError, SlideNotFoundError, UnknownNameError


def all_kinds(kind: type[QpbridgeError] = QpbridgeError) -> list[type[QpbridgeError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in all_kinds(child))]


KINDS = [kind for kind in all_kinds() if kind.__module__ == errors.__name__]


def test_the_tree_at_the_top_of_the_file_is_the_tree():
    assert errors.__doc__ is not None
    drawn = [word for word in errors.__doc__.split() if word.endswith("Error")]

    assert sorted(drawn) == sorted(kind.__name__ for kind in KINDS)


def test_the_drawn_tree_has_the_branches_of_the_classes():
    assert errors.__doc__ is not None
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None:
            continue
        depth = (line.index(name) - 4) // 4
        path[depth:] = [name]
        parents = [kind.__name__ for kind in getattr(errors, name).__mro__]
        assert parents[: depth + 1] == path[::-1]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_cause_has_a_reason_and_a_description(kind: type[QpbridgeError]):
    message = UnknownNameError("family", "x", []) if kind is UnknownNameError else kind("what happened")

    assert message.reason == message.reason.upper()
    assert message.reason.replace("_", "").lower() == kind.__name__.removesuffix("Error").lower()
    assert inspect.getdoc(kind)


def test_reasons_are_stable_names():
    assert SlideNotFoundError("gone").reason == "SLIDE_NOT_FOUND"
    assert errors.DamagedGeoJsonError("broken").reason == "DAMAGED_GEO_JSON"


def test_unknown_names_are_told_with_the_known_ones():
    assert str(UnknownNameError("family", "dmn", ["dmmn", "use-net"])) == (
        "unknown family 'dmn'; there are: dmmn, use-net"
    )
    assert str(UnknownNameError("key", "x", [], where="the preset")) == "unknown key 'x' in the preset; there are: none"
