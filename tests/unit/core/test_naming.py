import pytest

from qpbridge.core.naming import class_label, tag_label, tag_meaning, tag_name
from qpbridge.core.objects import PathClass


def test_derived_classes_belong_to_their_nearest_base() -> None:
    names = ("Tumor", "Tumor: Positive")

    def label(name: str) -> int | None:
        return class_label(PathClass(name, (0, 0, 0)), names)

    assert label("Tumor") == 0
    assert label("Tumor: Negative") == 0
    assert label("Tumor: Positive") == 1
    assert label("Tumor: Positive: Strong") == 1
    assert label("Positive") is None
    assert label("Tumor bud") is None


def test_case_and_blanks_count_only_where_they_tell_classes_apart() -> None:
    assert tag_label("lymphoid tissue", ["Tumor", "Lymphoid Tissue"]) == 1
    assert tag_label("TUMOR", ["Tumor", "tumor"]) is None


@pytest.mark.parametrize(
    ("tag", "meaning"),
    [
        ("Stroma", (1, True)),
        ("no Stroma", (1, False)),
        (" NO  stroma", (1, False)),
        ("no such class", (None, False)),
        ("Nostroma", (None, True)),
        ("no evidence", (2, True)),
    ],
)
def test_a_tag_names_a_class_or_denies_it(tag: str, meaning: tuple[int | None, bool]) -> None:
    assert tag_meaning(tag, ["Tumor", "Stroma", "no evidence"]) == meaning


def test_what_is_denied_keeps_its_name() -> None:
    assert [tag_name(tag) for tag in ("no Stroma", "Stroma", "no", "Node")] == ["Stroma", "Stroma", "no", "Node"]
