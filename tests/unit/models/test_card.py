from dataclasses import replace

from qpbridge.models.card import model_card
from qpbridge.models.recipe import Recipe
from qpbridge.models.registry import family
from qpbridge.models.spec import ModelClass, Provenance, SplitMetrics
from qpbridge.slides.stains.staining import Staining

PROVENANCE = Provenance(
    created="2026-11-20T12:00:00+00:00",
    versions={"qpbridge": "0.1.0", "torch": "2.12"},
    seed=42,
    recipe=Recipe(epochs=7),
    project="skin",
    training_entries=("a.tif", "c.tif"),
    validation_entries=("b.tif",),
    annotated_area_um2={"Tu|mor": 1234567.4, "Glass": 10.0},
    metrics=(SplitMetrics(split="validation", values={"mean IoU": 0.87654, "IoU Glass": None, "odd": float("nan")}),),
    parent_digest="beef",
)


def _card(provenance: Provenance = PROVENANCE, staining: Staining | None = None) -> str:
    dmmn = family("dmmn")
    classes = [
        ModelClass(name="Tu|mor", color_rgb=(1, 2, 3)),
        ModelClass(name="Glass", color_rgb=(0, 0, 0), is_written=False),
    ]
    return model_card(replace(dmmn.spec(dmmn.config_type(), classes), staining=staining), provenance, "abcd")


def test_the_card_tells_data_area_metrics_seed_and_versions() -> None:
    card = _card()

    for line in (
        "# dmmn-m3: Tu|mor, Glass",
        "Weights SHA-256 `abcd`, written 2026-11-20T12:00:00+00:00.",
        "| 0 | Tu\\|mor | 1234567 | yes |",
        "| 1 | Glass | 10 | no |",
        "| x4 | 256 | 2 | 512 |",
        "- QuPath project: skin",
        "- Trained on: a.tif, c.tif",
        "- Validated on: b.tif",
        "- Went on from the model with weights `beef`",
        "| validation | mean IoU | 0.8765 |",
        "| validation | IoU Glass | not defined |",
        "| validation | odd | not defined |",
        "| seed | 42 |",
        "| torch | 2.12 |",
        "| epochs | 7 |",
    ):
        assert line in card.splitlines(), line
    assert "## Intended use and limits" in card


def test_the_card_tells_where_validation_shares_images_with_training() -> None:
    assert "held back" not in _card()
    assert "areas held back of images" in _card(replace(PROVENANCE, validation_entries=("c.tif",)))


def test_the_card_tells_that_stains_are_normalized() -> None:
    assert "first given the stains" not in _card()
    assert "(vahadane)" in _card(staining=Staining(method="vahadane", rows=()))


def test_what_there_is_not_is_not_told() -> None:
    card = _card(
        Provenance(
            created="now",
            versions={},
            seed=0,
            recipe=Recipe(),
            project="p",
            training_entries=("a",),
            validation_entries=(),
            annotated_area_um2={},
        )
    )

    assert "Validated on" not in card
    assert "Went on" not in card
    assert "None were computed." in card
    assert "| 1 | Glass | 0 | no |" in card
