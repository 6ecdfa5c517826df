import base64
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import Region
from qpbridge.demo.judging import CLASS_NAMES
from qpbridge.demo.making import DemoCase
from qpbridge.demo.report import DETAIL_UM, OPACITY, PICTURE_PX, Page, Shown
from qpbridge.slides.opening import open_slide
from qpbridge.slides.synthetic import CLASSES, write_slide
from qpbridge.vector.labels import LabelRule, read_labels
from qpbridge.vector.raster import rasterize

CAPTIONS = ["slide", "annotations", "prediction", "truth"]
TUMOR, BENIGN = (CLASS_NAMES.index(name) for name in ("Tumor", "Benign"))
CURVES = "epoch,learning_rate,training_loss,validation_loss,mean_iou,iou Tumor,duration_s\n1,0.1,2,1.5,0.25,nan,3\n"
PREDICTED = [(shapely.box(0, 0, 512, 1024), TUMOR)]


@pytest.fixture(scope="module")
def case(case_of: Callable[..., DemoCase]) -> DemoCase:
    return case_of()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, case: DemoCase) -> Page:
    folder = tmp_path_factory.mktemp("report")
    write_slide(folder / "slide.tif", case.slide)
    (folder / "curves.csv").write_text(CURVES)
    return Page(
        slides=[shown_of(case, folder / "slide.tif")],
        classes=CLASSES,
        scores=[["class", "IoU"], ["Tumor", "0.750"], ["<Stroma>", "-"]],
        judged_by="the <truth>",
        curves=folder / "curves.csv",
        facts={"annotated": "6 % & <more>"},
        commands=["qpbridge inspect a&b", "qpbridge train <project>"],
    )


def shown_of(case: DemoCase, path: Path, detail: tuple[float, float] | None = None) -> Shown:
    return Shown(
        name="slide <1>",
        open=lambda: open_slide(path),
        mpp=2.0,
        annotated=read_labels(case.annotations, LabelRule(class_names=CLASS_NAMES)).shapes,
        predicted=PREDICTED,
        truth=case.slide.labels,
        detail=detail,
    )


@pytest.fixture(scope="module")
def page(results: Page) -> str:
    return results.to_html().decode()


@pytest.fixture(scope="module")
def pictures(page: str) -> list[tuple[str, RgbImage]]:
    return pictures_of(page)


def pictures_of(page: str) -> list[tuple[str, RgbImage]]:
    figures = re.findall(r'<img alt="(\w+)" src="data:image/jpeg;base64,([^"]+)">', page)
    return [(caption, decoded(source)) for caption, source in figures]


def decoded(source: str) -> RgbImage:
    found = cv2.imdecode(np.frombuffer(base64.b64decode(source), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def classes_seen(tinted: RgbImage, plain: RgbImage) -> LabelMap:
    """The class whose color, laid over the plain picture, comes closest to the tinted one; or none of them."""
    colors = np.array([item.color_rgb for item in CLASSES])
    candidates = [plain * (1 - OPACITY) + color * OPACITY for color in colors] + [plain.astype(float)]
    distances = np.stack([((tinted - one) ** 2).sum(axis=-1) for one in candidates])
    nearest = distances.argmin(axis=0)
    return np.where(nearest == len(CLASSES), IGNORE_INDEX, nearest).astype(np.uint8)


def test_both_levels_show_slide_annotations_prediction_and_truth(pictures: list[tuple[str, RgbImage]]) -> None:
    assert [caption for caption, _ in pictures] == CAPTIONS * 2
    detail_px = round(DETAIL_UM / 2.0)
    sizes = [pixels.shape for _, pixels in pictures]
    assert sizes == [(PICTURE_PX, PICTURE_PX, 3)] * 4 + [(detail_px, detail_px, 3)] * 4


def test_the_slide_is_shown_as_it_is(pictures: list[tuple[str, RgbImage]], results: Page, case: DemoCase) -> None:
    with results.slides[0].open() as slide:
        expected = slide.read(case.slide.bounds, PICTURE_PX, PICTURE_PX)

    assert abs(pictures[0][1].astype(int) - expected).mean() < 4  # JPEG


def test_the_others_show_the_classes_that_they_speak_of(pictures: list[tuple[str, RgbImage]], case: DemoCase) -> None:
    size, bounds = (PICTURE_PX, PICTURE_PX), case.slide.bounds
    annotated = rasterize(read_labels(case.annotations, LabelRule(class_names=CLASS_NAMES)).shapes, bounds, *size)
    truth = case.slide.labels(bounds, *size)
    plain = pictures[0][1]

    seen = {caption: classes_seen(pixels, plain) for caption, pixels in pictures[1:4]}

    assert (seen["annotations"] == annotated).mean() > 0.9
    assert (seen["annotations"] == annotated)[annotated != IGNORE_INDEX].mean() > 0.9
    assert (seen["prediction"] == rasterize(PREDICTED, bounds, *size)).mean() > 0.9
    assert (seen["truth"] == truth).mean() > 0.9


def test_the_detail_is_the_middle_unless_there_is_something_to_look_at(results: Page, case: DemoCase) -> None:
    size_px = DETAIL_UM / 2.0
    edge_px = case.slide.width_px
    places = {None: (edge_px - size_px) / 2, (0.0, 0.0): 0.0, (300.0, 300.0): 150.0, (9e9, 9e9): edge_px - size_px}

    for detail, left_px in places.items():
        shown = replace(results.slides[0], detail=detail)
        with shown.open() as slide:
            region = Region(x_px=left_px, y_px=left_px, width_px=size_px, height_px=size_px)
            expected = slide.read(region, round(size_px), round(size_px))
        seen = pictures_of(replace(results, slides=[shown]).to_html().decode())[4][1]

        assert abs(seen.astype(int) - expected).mean() < 8  # JPEG; another place differs by far more


def test_a_slide_smaller_than_the_pictures_without_a_truth_has_a_page_too(
    results: Page, case_of: Callable[..., DemoCase], tmp_path: Path
) -> None:
    case = case_of(250, 200, has_context_class=False)
    write_slide(tmp_path / "small.tif", case.slide)
    shown = replace(shown_of(case, tmp_path / "small.tif"), predicted=[], truth=None)

    pictures = pictures_of(replace(results, slides=[shown]).to_html().decode())

    assert [caption for caption, _ in pictures] == CAPTIONS[:3] * 2
    assert [pixels.shape[:2] for _, pixels in pictures] == [(200, 250)] * 3 + [(200, 200)] * 3


def test_scores_curves_facts_and_commands_are_told(page: str) -> None:
    assert "<h2>Scores against the &lt;truth&gt;</h2>" in page
    assert "<tr><td>Tumor</td><td>0.750</td></tr>" in page
    assert "<td>&lt;Stroma&gt;</td><td>-</td>" in page
    assert "<h2>slide &lt;1&gt;, 2.0 mm across</h2>" in page
    assert page.count("<svg") == 1
    assert "<td>annotated</td><td>6 % &amp; &lt;more&gt;</td>" in page
    assert "<pre>qpbridge inspect a&amp;b\nqpbridge train &lt;project&gt;</pre>" in page


def test_the_key_names_every_class_by_its_color(page: str) -> None:
    for item in CLASSES:
        assert f'<i style="background:rgb{item.color_rgb}"></i>{item.name}</span>' in page


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    links = re.findall(r'(?:src|href)="([^"]*)"', page)

    assert all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"@import|url\((?!#)|<script|<link", page)
