"""A QuPath project of made slides with partial annotations, and training that takes seconds."""

from collections.abc import Iterator
from pathlib import Path

from qpbridge.qupath.writing import NewEntry, create_project
from qpbridge.slides.synthetic import CLASSES, SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import partial_annotations
from qpbridge.workflows.entries.making import entry_of_file
from qpbridge.workflows.requests import TrainRequest

EDGE_PX = 512
# For a first impression: coarse pixels, a narrow network, few samples. The preset alone learns far more.
SETTINGS = {"variant": "unet", "width": "2", "mpp": "2.0", "patch_px": "64", "epochs": "2", "samples_per_epoch": "16"}


def make_project(folder: Path, slides: int = 1) -> Path:
    """Write slides and a project; return the project's folder."""
    create_project(folder / "project", list(_entries(folder, slides)), CLASSES)
    return folder / "project"


def quick_training(project: Path, model: Path) -> TrainRequest:
    """Return what to ask for."""
    return TrainRequest(project=project, out=model, family="dmmn", preset="small", settings=SETTINGS)


def _entries(folder: Path, slides: int) -> Iterator[NewEntry]:
    for number in range(slides):
        spec = SyntheticSpec(width_px=EDGE_PX, height_px=EDGE_PX, mpp=2.0, seed=4 + number, has_context_class=False)
        slide, path = make_slide(spec), folder / f"slide_{number}.tif"
        write_slide(path, slide)
        yield entry_of_file(path, partial_annotations(slide, share=0.1))
