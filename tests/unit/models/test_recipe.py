import dataclasses

import pytest

from qpbridge.errors import InvalidValueError
from qpbridge.models.recipe import Count, Recipe, parse_value, type_hints


def test_the_defaults_are_those_of_the_paper() -> None:
    recipe = Recipe()

    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.weight_decay) == ("sgd", 5e-5, 0.99, 1e-4)
    assert (recipe.batch_size, recipe.epochs, recipe.stride_px, recipe.min_labelled_share) == (1, 20, 256, 0.01)
    assert (recipe.elastic_grid, recipe.elastic_sigma_px, recipe.repeats_max) == (17, 4.0, 10)
    assert (recipe.schedule, recipe.rotation_p, recipe.stain_jitter, recipe.ema_decay) == ("constant", 0, 0, 0)
    assert (recipe.sampling, recipe.density_jitter, recipe.paste_p) == ("copies", 0, 0)


@pytest.mark.parametrize(
    ("key", "value", "takes"),
    [
        ("learning_rate", 0.0, "a number above 0"),
        ("learning_rate", float("inf"), "finite"),
        ("gradient_clip", float("nan"), "a number from 0 on"),
        ("flip_p", 1.5, "a number from 0 to 1"),
        ("epochs", 0, "a whole number from 1 on"),
        ("epochs", 1.5, "a whole number from 1 on"),
        ("elastic_grid", 1, "a whole number from 2 on"),
        ("optimizer", "lion", "one of sgd, adamw"),
        ("sampling", "hardest", "one of copies, errors"),
        ("density_jitter", -0.1, "a number from 0 on"),
        ("paste_p", 1.01, "a number from 0 to 1"),
        ("batch_size", "8", "a whole number from 1 on"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_what_the_key_takes(key: str, value: object, takes: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{key}={value}.*{key} takes .*{takes}"):
        Recipe(**{key: value})


def test_replacing_a_field_checks_it_too() -> None:
    with pytest.raises(InvalidValueError, match="validation_share"):
        dataclasses.replace(Recipe(), validation_share=1.0)


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("3", int | None, 3),
        ("none", int | None, None),
        ("1e-3", float, 1e-3),
        ("true", bool, True),
        ("128,256, 512", tuple[int, ...], (128, 256, 512)),
        ("128", tuple[int, ...], (128,)),
    ],
)
def test_text_becomes_the_type_of_the_field(text: str, hint: object, value: object) -> None:
    assert parse_value("key", text, hint) == value


@pytest.mark.parametrize(
    ("hint", "takes"),
    [
        (bool, "true or false"),
        (int | None, "a whole number or none"),
        (float, "a number"),
        (dict, "text"),
        (tuple[Count, ...], "a whole number from 1 on, several of them with commas between"),
    ],
)
def test_the_message_says_what_a_plain_type_takes(hint: object, takes: str) -> None:
    with pytest.raises(InvalidValueError, match=f"key takes {takes}"):
        parse_value("key", "many", hint)


def test_every_field_has_a_type_that_text_can_become() -> None:
    recipe = Recipe()

    for key, hint in type_hints(Recipe).items():
        assert parse_value(key, str(getattr(recipe, key)), hint) == getattr(recipe, key)
