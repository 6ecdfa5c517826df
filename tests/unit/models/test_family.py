from qpbridge.models.family import PAPER
from qpbridge.models.registry import FAMILIES, family
from qpbridge.models.spec import Head, ModelClass


def test_a_spec_holds_the_views_and_heads_of_its_configuration() -> None:
    dmmn = family("dmmn")
    config = dmmn.config_type(variant="unet", mpp=1.0, patch_px=64)
    classes = tuple(ModelClass(name=name, color_rgb=(0, 0, 0)) for name in "abc")

    spec = dmmn.spec(config, classes)

    assert (spec.family, spec.variant, spec.config, spec.classes) == ("dmmn", "unet", config, classes)
    assert spec.views == dmmn.views(config)
    assert spec.heads == (Head(name="logits", channels=3),)


def test_every_family_says_how_it_was_published() -> None:
    assert all(PAPER in item.presets for item in FAMILIES)
