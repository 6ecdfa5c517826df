import pytest
import typer

from qpbridge.cli.options import choice, names, positive, settings
from qpbridge.errors import InvalidValueError


def test_names_are_split_at_commas_and_stripped() -> None:
    assert names(["Tumor, Stroma", "Necrosis"]) == ("Tumor", "Stroma", "Necrosis")


def test_an_option_that_is_not_given_names_nothing() -> None:
    assert names(None) is None
    assert names([]) is None


@pytest.mark.parametrize("typed", [[""], [","], [" , ", ""]])
def test_an_option_without_a_name_is_refused(typed: list[str]) -> None:
    with pytest.raises(InvalidValueError, match="names nothing: give names"):
        names(typed)


def test_settings_keep_everything_after_the_first_equals_sign() -> None:
    assert settings(["epochs=3", " variant = a=b "]) == {"epochs": "3", "variant": "a=b"}


@pytest.mark.parametrize("text", ["epochs", "=3", " =3"])
def test_a_setting_without_key_or_sign_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidValueError, match="key=value"):
        settings([text])


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"'epochs' twice: 3 and 4"):
        settings(["epochs=3", "epochs=4"])


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pixel_size_must_be_finite_and_positive(value: float) -> None:
    with pytest.raises(typer.BadParameter, match="above 0"):
        positive(value)


def test_a_pixel_size_that_is_not_given_stays_open() -> None:
    assert positive(None) is None
    assert positive(0.5) == 0.5


def test_a_choice_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidValueError, match="--tta takes none, d4, not 'd8'"):
        choice("--tta", "d8", ["none", "d4"])
