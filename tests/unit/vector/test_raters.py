import numpy as np
import numpy.typing as npt
import pytest
from shapely import box
from shapely.geometry.base import BaseGeometry

from qpbridge.core.arrays import IGNORE_INDEX
from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.vector.labels import LabelRule, Subject, read_labels
from qpbridge.vector.raters import agreed, rater_of, staple

TUMOR, STROMA = 0, 1
EVEN = np.ones(1)


def drawn(geometry: BaseGeometry, of_class: str, rater: str | None, **options: object) -> PathObject:
    metadata = {} if rater is None else {"rater": rater}
    return PathObject(
        id=f"{of_class}-{rater}-{geometry.area}",
        kind=ObjectKind.ANNOTATION,
        geometry=geometry,
        path_class=PathClass(of_class, (0, 0, 0)),
        **{"metadata": metadata, **options},  # type: ignore[arg-type]
    )


def areas(shapes: tuple[tuple[BaseGeometry, int], ...]) -> dict[int, float]:
    return {label: sum(g.area for g, own in shapes if own == label) for label in sorted({own for _, own in shapes})}


@pytest.mark.parametrize(
    ("options", "rater"),
    [
        ({"metadata": {" Rater ": " Ann "}}, "Ann"),
        ({"metadata": {}, "name": "rater: Bo"}, "Bo"),
        ({"metadata": {}, "name": "Rater:Bo"}, "Bo"),
        ({"metadata": {}, "name": "rater Bo"}, None),
        ({"metadata": {"rater": " "}}, None),
        ({"metadata": {}}, None),
    ],
)
def test_who_drew_an_annotation_is_in_its_metadata_or_its_name(options: dict[str, object], rater: str | None) -> None:
    assert rater_of(drawn(box(0, 0, 1, 1), "Tumor", None, **options)) == rater


@pytest.mark.parametrize("rater", [None, "Ann"])
def test_shapes_of_one_rater_stay_as_they_are(rater: str | None) -> None:
    shapes = [(box(0, 0, 4, 4), TUMOR, rater), (box(1, 1, 2, 2), STROMA, None)]

    assert agreed(shapes) == tuple((geometry, label) for geometry, label, _ in shapes)


def test_two_of_three_raters_outvote_the_third() -> None:
    rules = LabelRule(class_names=("Tumor", "Stroma"))
    objects = [
        drawn(box(0, 0, 60, 100), "Tumor", "Ann"), drawn(box(60, 0, 100, 100), "Stroma", "Ann"),
        drawn(box(0, 0, 60, 100), "Tumor", "Bo"), drawn(box(60, 0, 100, 100), "Stroma", "Bo"),
        drawn(box(0, 0, 40, 100), "Tumor", "Cy"), drawn(box(40, 0, 100, 100), "Stroma", "Cy"),
    ]  # fmt: skip

    assert areas(read_labels(objects, rules).shapes) == {TUMOR: 6000, STROMA: 4000}


def test_nuclei_are_no_matter_of_votes() -> None:
    rule = LabelRule(class_names=("Tumor",), subject=Subject.NUCLEI)
    objects = [drawn(box(0, 0, 4, 4), "Tumor", "Ann"), drawn(box(2, 0, 6, 4), "Tumor", "Bo")]

    assert len(read_labels(objects, rule).shapes) == 2


def test_who_labels_nothing_has_no_vote_and_what_nobody_labels_is_unknown() -> None:
    found = agreed([(box(0, 0, 4, 4), TUMOR, "Ann"), (box(2, 0, 8, 4), TUMOR, "Bo"), (box(9, 0, 10, 4), STROMA, "Bo")])

    assert areas(found) == {TUMOR: 32, STROMA: 4}


def test_two_raters_who_disagree_as_much_leave_the_place_unknown() -> None:
    halves = [(box(0, 0, 4, 4), TUMOR), (box(4, 0, 8, 4), STROMA)]
    mine, theirs = [(box(3, 0, 4, 4), STROMA, "Ann")], [(box(4, 0, 5, 4), TUMOR, "Ann")]
    shapes = [(g, label, rater) for rater in ("Ann", "Bo") for g, label in halves]

    found = areas(agreed([*shapes, *mine, *theirs]))

    assert found == {TUMOR: 12, STROMA: 12, IGNORE_INDEX: 8}


def test_what_no_rater_claims_holds_for_all_and_smaller_shapes_lie_on_top() -> None:
    shapes = [(box(0, 0, 10, 10), TUMOR, "Ann"), (box(0, 0, 10, 10), TUMOR, "Bo"), (box(4, 4, 6, 6), STROMA, None)]

    assert areas(agreed(shapes)) == {TUMOR: 96, STROMA: 4}


def test_ignored_areas_are_no_votes() -> None:
    shapes = [(box(0, 0, 4, 4), TUMOR, "Ann"), (box(2, 0, 4, 4), IGNORE_INDEX, "Ann"), (box(0, 0, 4, 4), STROMA, "Bo")]

    found = agreed([*shapes, (box(0, 0, 4, 4), STROMA, "Cy")])

    assert areas(found) == {STROMA: 16}


@pytest.fixture
def maps() -> npt.NDArray[np.int64]:
    """Label maps of three raters of 5 %, 10 % and 40 % of errors, shape (3, 4096)."""
    generator = np.random.default_rng(0)
    truth = np.repeat(generator.integers(0, 3, 64), 64)
    wrong = generator.random((3, 4096)) < np.array([[0.05], [0.1], [0.4]])
    return np.where(wrong, generator.integers(0, 3, (3, 4096)), truth)


def test_patterns_are_fused_as_simpleitk_fuses_pixels(maps: npt.NDArray[np.int64]) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed; it is only compared with here")
    patterns, which, counts = np.unique(maps.T, axis=0, return_inverse=True, return_counts=True)

    ours = staple(patterns, counts.astype(np.float64))[which]

    images = [sitk.GetImageFromArray(one.reshape(64, 64).astype(np.uint8)) for one in maps]
    theirs = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images)).ravel()
    assert (ours == theirs).mean() > 0.999


def test_a_reliable_rater_outweighs_two_who_err() -> None:
    votes = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 0]])
    often = np.array([300.0, 300.0, 2.0, 2.0, 100.0, 100.0, 100.0, 100.0])

    labels = staple(votes, often)

    assert labels[:2].tolist() == [0, 1]
    assert labels[4:].tolist() == [0, 0, 1, 1]


def test_without_votes_nothing_is_known() -> None:
    assert staple(np.full((1, 2), IGNORE_INDEX), EVEN).tolist() == [IGNORE_INDEX]
    assert staple(np.array([[2, IGNORE_INDEX]]), EVEN).tolist() == [2]
