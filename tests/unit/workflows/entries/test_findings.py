"""What a run found and nobody touched does not teach."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from shapely import box

from qpbridge.core.objects import ObjectKind, PathClass, PathObject
from qpbridge.qupath.geojson import write_objects
from qpbridge.qupath.reconcile import reconcile
from qpbridge.workflows.entries.findings import without_findings
from qpbridge.workflows.entries.roots import reading_only_in
from qpbridge.workflows.entries.sources import Source, sources_of_project
from qpbridge.workflows.predicting.history import SlideHistory

MakeProject = Callable[..., Path]
TUMOR = PathClass("Tumor", (200, 0, 0))


def found(number: int, kind: ObjectKind = ObjectKind.ANNOTATION) -> PathObject:
    shape = box(100 * number, 0, 100 * number + 80, 50)
    return PathObject(id=f"00000000-0000-5000-8000-{number:012}", kind=kind, geometry=shape, path_class=TUMOR)


def run(project: Path, new: Sequence[PathObject], model: str = "m") -> None:
    out = project / "qpbridge-results" / model
    history = SlideHistory(out, "1-a.png")
    result = reconcile(*history.before(model), new)
    with history.step(model, out / "1-a.png.geojson", result):
        write_objects(out / "1-a.png.geojson", result.objects)


@pytest.fixture
def source(make_project: MakeProject) -> Callable[..., Source]:
    """Make the source of an entry that holds these objects, some of which a run found."""

    def make(objects: Sequence[PathObject], wrote: Sequence[PathObject]) -> Source:
        project = make_project({"a.png": objects})
        if wrote:
            run(project, wrote)
        return sources_of_project(project)[0]

    return make


def ids(items: Sequence[PathObject]) -> list[str]:
    return [item.id for item in items]


def test_without_runs_all_is_drawn(source: Callable[..., Source]) -> None:
    kept = without_findings(source([found(0)], []))

    assert (ids(kept.objects), kept.untouched) == (ids([found(0)]), ())


def test_what_nobody_touched_is_left_out_and_edited_locked_and_drawn_ones_stay(source: Callable[..., Source]) -> None:
    wrote = [found(i) for i in range(5)]
    edited = replace(wrote[1], geometry=box(100, 0, 190, 50))
    renamed = replace(wrote[2], path_class=PathClass("Stroma", (0, 200, 0)))
    locked = replace(wrote[3], is_locked=True)
    own = replace(found(7), id="00000000-0000-4000-8000-000000000007")

    kept = without_findings(source([wrote[0], edited, renamed, locked, own], wrote))

    assert ids(kept.objects) == ids([edited, renamed, locked, own])
    assert ids(kept.untouched) == ids([wrote[0]])


def test_those_of_every_model_are_left_out(source: Callable[..., Source]) -> None:
    one = source([found(0), found(1)], [found(0)])
    assert one.project is not None
    run(one.project.folder, [found(1)], "other")

    assert without_findings(one).objects == ()


def test_an_area_marked_as_complete_stands_for_what_lies_in_it(source: Callable[..., Source]) -> None:
    nuclei = [found(2, ObjectKind.DETECTION), found(5, ObjectKind.DETECTION)]
    region = PathObject(
        id="00000000-0000-4000-8000-000000000009",
        kind=ObjectKind.ANNOTATION,
        geometry=box(40, 0, 300, 50),
        path_class=PathClass("Region*", (0, 0, 0)),
    )
    wrote = [found(0), found(1), *nuclei]

    kept = without_findings(source([*wrote, region], wrote))

    assert ids(kept.objects) == ids([region, found(0), found(1), nuclei[0]])
    assert kept.objects[1].geometry.equals(box(40, 0, 80, 50))
    assert kept.objects[2].geometry.equals(found(1).geometry)
    assert ids(kept.untouched) == ids([nuclei[1]])


def test_objects_of_an_open_viewer_are_judged_as_saved_ones_are(source: Callable[..., Source]) -> None:
    one = source([], [found(0), found(1)])

    kept = without_findings(replace(one, given=(found(0), replace(found(1), is_locked=True))))

    assert ids(kept.objects) == ids([found(1)])


def test_no_link_leads_to_runs_elsewhere(source: Callable[..., Source], tmp_path: Path) -> None:
    one = source([found(0)], [found(0)])
    assert one.project is not None
    results = one.project.folder / "qpbridge-results"
    results.rename(tmp_path / "elsewhere")
    results.symlink_to(tmp_path / "elsewhere")

    assert without_findings(one).objects == ()
    with reading_only_in([one.project.folder.resolve()]):
        assert ids(without_findings(one).objects) == ids([found(0)])
