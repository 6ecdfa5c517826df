import ast
import inspect
import itertools
import json
from dataclasses import fields

import pytest
import torch

from qpbridge.errors import InvalidValueError, UnknownNameError
from qpbridge.models.recipe import Recipe
from qpbridge.models.registry import CONFIG_TYPES, FAMILIES, build, configure, described, family, listing
from qpbridge.models.spec import ModelClass


def test_an_unknown_family_is_refused_and_the_families_are_listed() -> None:
    with pytest.raises(UnknownNameError, match="family 'dnnm'; there are: dmmn, multiscale, use_net, foveation"):
        family("dnnm")


def test_without_preset_and_settings_the_values_are_those_of_the_paper() -> None:
    for item in FAMILIES:
        assert configure(item.name, None, {}) == (item.config_type(), item.recipe)


def test_settings_win_over_the_preset() -> None:
    config, recipe = configure("dmmn", "small", {"width": "12", "learning_rate": "1e-3", "variant": "ms"})

    preset_config, preset_recipe = configure("dmmn", "small", {})
    assert (config.width, config.variant) == (12, "ms")
    assert config.norm == preset_config.norm == "batch"
    assert (recipe.learning_rate, recipe.epochs) == (1e-3, preset_recipe.epochs)


def test_every_preset_is_valid() -> None:
    for item in FAMILIES:
        for preset in item.presets:
            configure(item.name, preset, {})


@pytest.mark.parametrize("variant", [item.name + "-" + one for item in FAMILIES for one in item.variants])
def test_a_variant_is_taken_by_the_name_that_the_listing_shows(variant: str) -> None:
    name, _, short = variant.partition("-")

    assert configure(name, None, {"variant": variant})[0].variant == short


def test_an_unknown_preset_is_refused_and_the_presets_are_listed() -> None:
    with pytest.raises(UnknownNameError, match="preset 'tiny' in family 'dmmn'; there are: paper, small"):
        configure("dmmn", "tiny", {})


def test_an_unknown_key_is_refused_and_the_keys_of_both_records_are_listed() -> None:
    with pytest.raises(UnknownNameError, match="key 'widht'") as caught:
        configure("dmmn", None, {"widht": "8"})

    for record in (Recipe, CONFIG_TYPES["dmmn"]):
        assert all(item.name in str(caught.value) for item in fields(record))


@pytest.mark.parametrize(
    ("key", "text", "takes"),
    [
        ("width", "wide", "a whole number from 1 on or none"),
        ("epochs", "1.5", "a whole number from 1 on"),
        ("variant", "m4", "one of m3, m2s, ms, s2, unet, segnet"),
        ("patch_px", "100", "multiples of 64"),
        ("rot90_p", "2", "a number from 0 to 1"),
    ],
)
def test_a_bad_value_is_refused_with_key_value_and_what_the_key_takes(key: str, text: str, takes: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{key}={text} .*takes {takes}"):
        configure("dmmn", None, {key: text})


def test_configurations_and_recipe_share_no_key() -> None:
    recipe = {item.name for item in fields(Recipe)}

    for config_type in CONFIG_TYPES.values():
        assert recipe.isdisjoint(item.name for item in fields(config_type))


def test_every_setting_says_what_it_is() -> None:
    for record in (Recipe, *CONFIG_TYPES.values()):
        (definition,) = ast.parse(inspect.getsource(record)).body
        body = definition.body
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign):
                assert isinstance(text, ast.Expr), f"{record.__name__}.{field.target.id} has no docstring"


def test_a_network_is_built_from_a_spec() -> None:
    dmmn = family("dmmn")
    classes = [ModelClass(name=name, color_rgb=(0, 0, 0)) for name in "abc"]
    spec = dmmn.spec(dmmn.config_type(variant="unet", width=2, patch_px=64), classes)

    network = build(spec).eval()

    assert network({"x1": torch.zeros(1, 3, 64, 64)})["logits"].shape == (1, 3, 64, 64)


def test_the_listing_holds_the_published_counts_views_and_heads() -> None:
    listed = json.loads(json.dumps(listing()))

    assert {item["variant"]: item["parameters"] for item in listed} == {
        "dmmn-segnet": 18_881_543,
        "dmmn-unet": 34_550_663,
        "dmmn-s2": 34_554_119,
        "dmmn-ms": 30_647_207,
        "dmmn-m2s": 25_947_047,
        "dmmn-m3": 27_071_303,
        "multiscale-unet": 17_804_164,
        "multiscale-msy4": 29_242_820,
        "multiscale-msy16": 29_244_872,
        "multiscale-msui": 28_982_764,
        "multiscale-msyi": 40_421_420,
        "multiscale-msy2": 40_683_528,
        "multiscale-msy_mm2": 40_954_376,
        "multiscale-msy_mm_i_mm": 40_954_412,
        "use_net-se_resnet50": 35_037_186,
        "use_net-resnet50": 32_522_242,
        "use_net-resnet18": 14_329_346,
        "use_net-unet": 2_160_690,
        # the module and HRNetV2-W48 with its head, or the latter alone
        **{f"foveation-{name}": 17_450 + 66_492_604 for name in ("mean", "gumbel", "argmax")},
        **{f"foveation-{name}": 66_492_604 for name in ("fixed", "random", "average")},
        # classifier and segmenter
        **{f"weak_tissue-{name}": 105_087_296 + 59_339_940 for name in ("multi_layer", "single_layer")},
    }
    m3 = next(item for item in listed if item["variant"] == "dmmn-m3")
    assert m3["family"] == "dmmn"
    assert m3["views"] == [{"name": f"x{r}", "size_px": 256, "mpp": 0.5 * r} for r in (1, 2, 4)]
    assert m3["heads"] == [{"name": "logits", "channels": 6}, {"name": "unlabelled", "channels": 1}]


def test_each_family_is_described_with_its_architectures_presets_and_settings() -> None:
    for item in FAMILIES:
        told = described(item)

        assert (told["name"], told["presets"]) == (item.name, list(item.presets))
        assert [one["variant"] for one in told["variants"]] == [f"{item.name}-{one}" for one in item.variants]
        assert all(list(setting["values"]) == told["presets"] for setting in told["settings"])
        assert {"patch_px", "epochs"} <= {setting["key"] for setting in told["settings"]}
