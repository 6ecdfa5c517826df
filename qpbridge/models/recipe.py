"""Settings that check themselves by their types, and the settings of training."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from qpbridge.errors import InvalidValueError

Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1, description="a number from 0 to 1")]
Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0, description="a number above 0")]
NotNegative: TypeAlias = Annotated[float, msgspec.Meta(ge=0, description="a number from 0 on")]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, description="a whole number from 1 on")]
CountOrZero: TypeAlias = Annotated[int, msgspec.Meta(ge=0, description="a whole number from 0 on")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Base of records whose values are checked against their fields' types, limits included.

    Raises
    ------
    InvalidValueError
        If a value is not what its field takes; the message names the field and what it takes.
    """

    def __post_init__(self) -> None:
        hints = type_hints(type(self))
        for item in fields(self):
            parse_value(item.name, getattr(self, item.name), hints[item.name], strict=True)


def type_hints(settings: type[Settings]) -> dict[str, object]:
    """Return the types of a settings record's fields, with their limits."""
    return typing.get_type_hints(settings, include_extras=True)


def parse_value(key: str, value: object, hint: object, *, strict: bool = False) -> object:
    """Return a value as its field takes it.

    Parameters
    ----------
    key : str
        Name of the field, for the message.
    value : object
        Text, or a value of the right type already. Text for several values has commas between them.
    hint : type
        Type of the field.
    strict : bool
        Whether text for a number is refused.

    Raises
    ------
    InvalidValueError
        If the field does not take the value.
    """
    if value == "none" and not strict and types.NoneType in typing.get_args(hint):
        return None
    is_text_for_many = isinstance(value, str) and typing.get_origin(hint) is tuple
    given = [part.strip() for part in str(value).split(",")] if is_text_for_many else value
    try:
        parsed: object = msgspec.convert(given, type=hint, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidValueError(f"{key}={value} does not work: {key} takes {_accepted(hint)}") from error
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise InvalidValueError(f"{key}={value} does not work: {key} takes {_accepted(hint)}, and a finite one")
    return parsed


def _accepted(hint: object) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is Annotated:
        return str(arguments[1].description)
    if origin is tuple:
        return f"{_accepted(arguments[0])}, several of them with commas between"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_accepted(one) for one in arguments)
    return {bool: "true or false", types.NoneType: "none", int: "a whole number", float: "a number"}.get(
        typing.cast(type, hint), "text"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Settings):
    """How a network is trained. The defaults are those of Ho et al. 2021 (DMMN); others call themselves so.

    "Public program" marks values that the paper leaves open and its authors' program answers.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Stochastic gradient descent with momentum (Ho et al. 2021, sec. 2.5), or AdamW."""

    learning_rate: Positive = 5e-5
    """Step size at the start (Ho et al. 2021, sec. 2.5)."""

    momentum: Share = 0.99
    """Of SGD (Ho et al. 2021, sec. 2.5); AdamW takes no notice."""

    weight_decay: NotNegative = 1e-4
    """L2 penalty of SGD (Ho et al. 2021, sec. 2.5), or AdamW's decoupled decay."""

    schedule: Literal["constant", "cosine", "poly", "tenths"] = "constant"
    """Learning rate over the steps: as it is (Ho et al. 2021 name no schedule), falling to 0 along a cosine, as the
    share of steps that are left to the power of 0.9 (Jin et al. 2020, public program), or a tenth every 30 epochs
    (Rahmon et al. 2022, sec. III.B)."""

    batch_size: Count = 1
    """Patches a step (Ho et al. 2021: 20 epochs of 115,844 patches; public program: 1)."""

    epochs: Count = 20
    """Passes over the balanced patches (Ho et al. 2021, sec. 2.5)."""

    samples_per_epoch: CountOrZero = 0
    """Samples in an epoch, drawn evenly from the balanced patches; 0 = each once (Ho et al. 2021, sec. 2.5)."""

    sampling: Literal["copies", "errors"] = "copies"
    """Patches in turn, those of rare classes with deformed copies (Ho et al. 2021, sec. 2.3), or each class as often
    as the network is still unsure of its pixels."""

    stride_px: Count = 256
    """Distance between patch centers, px of the finest view (Ho et al. 2021, sec. 2.2: targets do not overlap)."""

    min_labelled_share: Share = 0.01
    """A patch is taken if more than this share of its target pixels is labelled (Ho et al. 2021, sec. 2.2)."""

    repeats_max: CountOrZero = 10
    """Most deformed copies of a patch of a rare class (Ho et al. 2021, sec. 3: benign epithelium has 10)."""

    elastic_sigma_px: NotNegative = 4.0
    """Standard deviation of a copy's grid displacements, px of the finest view (Ho et al. 2021, sec. 2.3); 0 = off."""

    elastic_grid: Annotated[int, msgspec.Meta(ge=2, description="a whole number from 2 on")] = 17
    """Grid points along each edge of a patch for elastic deformation (Ho et al. 2021, sec. 2.3)."""

    rot90_p: Share = 0.5
    """Probability of a turn by a multiple of 90 degrees (Ho et al. 2021, sec. 2.5; value: public program)."""

    flip_p: Share = 0.5
    """Probability of each of both flips (Ho et al. 2021, sec. 2.5; value: public program)."""

    hue_shift: NotNegative = 20.0
    """Largest shift of hue, 8-bit steps of 2 degrees (Ho et al. 2021, sec. 2.5; value: public program)."""

    saturation_shift: NotNegative = 30.0
    """Largest shift of saturation, 8-bit steps of 255 (Ho et al. 2021, sec. 2.5; value: public program)."""

    brightness: NotNegative = 0.25
    """Largest change of brightness, share of white (Ho et al. 2021, sec. 2.5; value: public program)."""

    contrast: Share = 0.25
    """Largest change of contrast, relative (Ho et al. 2021, sec. 2.5; value: public program)."""

    color_p: Share = 0.5
    """Probability of the hue and saturation shift, and of the brightness and contrast change (public program)."""

    mild_elastic_alpha: NotNegative = 1.0
    """Strength of the slight deformation of every patch, px (public program); 0 = off."""

    stain_normalization: Literal["none", "macenko", "reinhard", "vahadane"] = "none"
    """Gives every slide, in prediction too, the stains of one of those learnt from: by hematoxylin and eosin (Macenko
    et al. 2009; Vahadane et al. 2016) or by mean and spread of color (Reinhard et al. 2001); not in Ho et al. 2021."""

    stain_jitter: NotNegative = 0.0
    """Largest relative change of each stain's amount; 0 = off (not in Ho et al. 2021)."""

    scale_jitter: Annotated[float, msgspec.Meta(ge=0, lt=1, description="a number from 0 to below 1")] = 0.0
    """Largest relative change of a patch's pixel size; 0 = off (not in Ho et al. 2021)."""

    rotation_p: Share = 0.0
    """Probability of a turn by any angle; 0 = off (not in Ho et al. 2021)."""

    rotation_deg: Annotated[float, msgspec.Meta(gt=0, le=180, description="a number above 0, up to 180")] = 180.0
    """Largest such turn, either way."""

    density_jitter: NotNegative = 0.0
    """Largest change of the logarithm of the optical density; 0 = off (not in Ho et al. 2021)."""

    paste_p: Share = 0.0
    """Probability that what is labelled in a patch is pasted on another patch, in all views: little data otherwise
    teaches what happens to lie beside a class; 0 = off (not in Ho et al. 2021)."""

    validation_share: Annotated[float, msgspec.Meta(ge=0, lt=1, description="a number from 0 to below 1")] = 0.2
    """Share held back where no entries are named for validation (Ho et al. 2021, sec. 3: 6 of 32 slides)."""

    ema_decay: Annotated[float, msgspec.Meta(ge=0, lt=1, description="a number from 0 to below 1")] = 0.0
    """Decay a step of the running mean of weights that is kept; 0 = off (not in Ho et al. 2021)."""

    label_smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1, description="a number from 0 to below 1")] = 0.0
    """Share of a label that is spread over all classes; 0 = off (not in Ho et al. 2021)."""

    patches_at_once: CountOrZero = 0
    """Patches of a batch computed at once; their gradients add up to that of the batch; 0 = all. Halved by itself
    where a GPU's memory runs out. Batch statistics are those of the patches computed at once."""

    patience: CountOrZero = 0
    """Epochs without a better one after which training ends; 0 = it never ends early (Ho et al. 2021)."""

    gradient_clip: NotNegative = 0.0
    """Largest norm of all gradients together; 0 = off (not in Ho et al. 2021)."""

    selection_tolerance: Share = 0.0
    """A later epoch is kept although its validation mean IoU is lower by up to this, since few validation pixels
    tell little; 0 = strictly the best epoch (Ho et al. 2021, sec. 2.5)."""


SMALL_TRAINING: Final[Mapping[str, object]] = {
    # steps
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "weight_decay": 1e-4,
    "batch_size": 16,
    "patches_at_once": 0,
    "epochs": 40,
    "samples_per_epoch": 480,
    "ema_decay": 0.99,
    # data
    "stride_px": 32,
    "sampling": "errors",
    "repeats_max": 10,
    "validation_share": 0.1,
    "selection_tolerance": 0.1,
    # augmentation: density varies much, colors hardly, since hue tells pink from purple; surroundings change
    "rot90_p": 0.5,
    "flip_p": 0.5,
    "color_p": 0.0,
    "stain_jitter": 0.1,
    "density_jitter": 0.6,
    "scale_jitter": 0.1,
    "rotation_p": 1.0,
    "mild_elastic_alpha": 0.0,
    "paste_p": 0.8,
}
"""How small networks of patches of 128 px at 1 µm/px learn in minutes on two CPU cores, from little."""
