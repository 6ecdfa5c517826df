import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from qpbridge.core.objects import PathObject
from qpbridge.core.progress import SilentProgress
from qpbridge.errors import NothingToTrainError
from qpbridge.workflows.entries.gathering import Gathering
from qpbridge.workflows.entries.sources import sources_of_project
from qpbridge.workflows.learning.material import Material, gather_material, project_of
from qpbridge.workflows.learning.rounds import plan_of
from qpbridge.workflows.requests import TrainRequest

MakeProject = Callable[..., Path]
Annotate = Callable[..., PathObject]


def material_of(project: Path, stack: contextlib.ExitStack, family: str = "dmmn", **fields: object) -> Material:
    settings = {"variant": "unet", "width": "2", "patch_px": "64", "stride_px": "64", "mpp": "0.5"}
    request = TrainRequest(project=project, out=project / "m", family=family, settings=settings, **fields)  # type: ignore[arg-type]
    gathering = Gathering(sources_of_project(project, None, ()), None, SilentProgress())
    return gather_material(plan_of(request, None), gathering, stack, SilentProgress())


def test_what_is_held_back_is_not_learnt_from(make_project: MakeProject, annotate: Annotate) -> None:
    project = make_project({"a.png": [annotate("Tumor", 20, 20, 180, 280), annotate("Stroma", 200, 20, 380, 280)]})

    with contextlib.ExitStack() as stack:
        material = material_of(project, stack)

        assert [item.name for item in material.spec.classes] == ["Tumor", "Stroma"]
        assert material.validation.counts.sum() > 0
        for patch in material.validation.patches:
            assert (material.training.labels.count(patch) == 0).all()
            assert material.validation.labels.count(patch).sum() > 0
        assert project_of(material.opened) is material.opened[0].source.project


def test_entries_named_for_validation_are_the_only_ones_judged_by(
    make_project: MakeProject, annotate: Annotate
) -> None:
    both = [annotate("Tumor", 20, 20, 180, 280), annotate("Stroma", 200, 20, 380, 280)]
    project = make_project({"a.png": both, "b.png": both, "c.png": both})

    with contextlib.ExitStack() as stack:
        material = material_of(project, stack, validation=("b.png",))

        names = [one.source.name for one in material.opened]
        assert {names[patch.slide] for patch in material.validation.patches} == {"b.png"}
        assert {names[patch.slide] for patch in material.training.patches} == {"a.png", "c.png"}


def test_a_class_that_nothing_can_be_learnt_of_is_named(make_project: MakeProject, annotate: Annotate) -> None:
    project = make_project(
        {"a.png": [annotate("Tumor", 20, 20, 180, 280), annotate("Stroma", 200, 20, 380, 280)], "b.png": []}
        | {"c.png": [annotate("Fat", 20, 20, 180, 280)]}
    )

    with contextlib.ExitStack() as stack, pytest.raises(NothingToTrainError, match="'Fat'"):
        material_of(project, stack, validation=("c.png",))


def test_tissue_annotated_around_nuclei_is_no_class_of_them(make_project: MakeProject, annotate: Annotate) -> None:
    nuclei = [annotate(f"Kind {i % 2}", 30 + 40 * i, 30, 50 + 40 * i, 50) for i in range(6)]
    around = [annotate("A tissue", 20, 20, 280, 60), annotate("Region*", 10, 10, 390, 290)]
    project = make_project({"a.png": [*nuclei, *around]})

    with contextlib.ExitStack() as stack:
        material = material_of(project, stack, family="use_net")

        assert [item.name for item in material.spec.classes] == ["Kind 0", "Kind 1", "(unlabelled)"]
        (opened,) = material.opened
        assert sorted(label for _, label in opened.slide.shapes) == [0, 0, 0, 1, 1, 1, 2]
        assert len(opened.slide.nuclei) == len(nuclei)
