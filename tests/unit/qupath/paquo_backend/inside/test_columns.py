from __future__ import annotations

from typing import Any

import pytest

from qpbridge.qupath.paquo_backend.inside import columns
from qpbridge.qupath.paquo_backend.inside.columns import TO_STREAM, Getter

LENGTH = Getter("java.lang.String", "length", "int")
IS_EMPTY = Getter("java.lang.String", "isEmpty", "boolean")
TRIMMED = Getter("java.lang.String", "trim", "java.lang.String")
WORDS = "columns.array_of([jpype.JString(' a '), jpype.JString('')])"


@pytest.fixture
def there(qupath: Any) -> Any:
    """Evaluate an expression in the process of QuPath: only what a module there defines can be asked for by name."""
    modules = f"map(__import__('importlib').import_module, ('jpype', '{columns.__name__}'))"
    return lambda expression: qupath.ask(eval, f"(lambda jpype, columns: {expression})(*{modules})")


def getter(one: Getter) -> str:
    return f"columns.Getter(*{tuple(one)})"


@pytest.mark.qupath
def test_values_of_many_objects_come_over_at_once(there):
    assert there(f"columns.numbers({WORDS}, {getter(LENGTH)}).tolist()") == [3.0, 0.0]
    assert there(f"columns.numbers({WORDS}, {getter(IS_EMPTY)}).tolist()") == [0.0, 1.0]
    assert there(f"columns.numbers({WORDS}, {getter(TRIMMED)}, {getter(LENGTH)}).tolist()") == [1.0, 0.0]
    assert there(f"columns.texts(columns.values({WORDS}, {getter(TRIMMED)}))") == ["a", ""]


def test_members_are_those_of_collections():
    assert TO_STREAM.owner == "java.util.Collection"
    assert columns.texts([None, "a"]) == [None, "a"]
