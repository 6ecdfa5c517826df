import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from qpbridge.training.fitting.curves import EpochRecord, curves_rows, curves_svg, told_numbers

RED = (200, 0, 0)


def record(epoch: int, *class_iou: float, loss: float = 0.5) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        learning_rate=1e-3 / epoch,
        training_loss=loss,
        validation_loss=loss + 0.12345678,
        mean_iou=sum(class_iou) / len(class_iou),
        class_iou=class_iou,
        duration_s=1.23456,
    )


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_an_epoch_is_one_flat_row() -> None:
    (row,) = curves_rows([record(2, 0.5, 0.25)], ["Tumor", "Stroma"])

    assert row == {
        "epoch": 2,
        "learning_rate": 5e-4,
        "training_loss": 0.5,
        "validation_loss": 0.623457,
        "mean_iou": 0.375,
        "iou Tumor": 0.5,
        "iou Stroma": 0.25,
        "duration_s": 1.235,
    }


def test_each_class_needs_its_iou() -> None:
    with pytest.raises(ValueError, match="zip"):
        curves_rows([record(1, 0.5)], ["Tumor", "Stroma"])


def test_progress_tells_what_is_defined() -> None:
    told = told_numbers(record(2, 0.5, math.nan), ["Tumor", "Stroma"])

    assert told == {"epoch": 2, "validation_loss": pytest.approx(0.62345678), "iou Tumor": 0.5}


def test_the_picture_names_classes_and_axes() -> None:
    rows = curves_rows([record(1, 0.2, math.nan), record(2, 0.4, math.nan)], ["Tumor", "Stroma: Edge"])

    svg = curves_svg(rows, dict.fromkeys(["Tumor", "Stroma: Edge"], RED))

    assert svg.startswith("<svg")
    assert {"training loss", "validation loss", "Tumor", "Stroma: Edge", "mean", "epoch"} <= set(texts(svg))


@pytest.mark.parametrize("name", ["a<b & 'c'", "$\\alpha", "$x_1$", "100 % $", "腫瘍"])
def test_any_class_name_is_shown_as_it_is(name: str) -> None:
    svg = curves_svg(curves_rows([record(1, 0.5, 0.5)], [name, "Stroma"]), {name: RED, "Stroma": RED})

    assert name in texts(svg)


def test_the_same_numbers_give_the_same_picture() -> None:
    rows = curves_rows([record(1, 0.2), record(2, 0.4)], ["Tumor"])

    assert curves_svg(rows, {"Tumor": RED}) == curves_svg(rows, {"Tumor": RED})


def test_a_class_has_its_own_color_dark_enough_to_be_seen() -> None:
    svg = curves_svg(curves_rows([record(1, 0.5, 0.5)], ["Tumor", "Glass"]), {"Tumor": RED, "Glass": (255, 255, 255)})

    lines = svg.lower()
    assert "stroke: #aa0000" in lines
    assert "stroke: #d9d9d9" in lines


def test_stages_are_numbered_where_there_are_several() -> None:
    first, second = record(1, 0.5), replace(record(2, 0.7), stage=2)

    rows = curves_rows([first, second], ["Tumor"])

    assert [row["stage"] for row in rows] == [1, 2]
    assert "stage" not in curves_rows([first], ["Tumor"])[0]
    assert {"Tumor", "mean"} <= set(texts(curves_svg(rows, {"Tumor": RED})))
