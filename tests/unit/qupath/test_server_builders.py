from __future__ import annotations

from typing import Any

import pytest

from qpbridge.core.geometry import PixelCalibration, Region
from qpbridge.core.image_server import Rotation
from qpbridge.errors import DamagedProjectError, UnsupportedImageError
from qpbridge.qupath.server_builders import parse_server

LABEL = "entry 3 'slide_a.tif'"


def metadata(width: int, height: int, mpp: tuple[float, float] = (0.25, 0.5), unit: str = "µm") -> dict[str, Any]:
    return {
        "width": width,
        "height": height,
        "sizeZ": 3,
        "sizeT": 2,
        "isRGB": True,
        "pixelCalibration": {
            "pixelWidth": {"value": mpp[0], "unit": unit},
            "pixelHeight": {"value": mpp[1], "unit": unit},
            "zSpacing": {"value": 1.0, "unit": "z-slice"},
        },
    }


def plain(**changes: Any) -> dict[str, Any]:
    return {
        "builderType": "uri",
        "providerClassName": "qupath.lib.images.servers.openslide.OpenslideServerBuilder",
        "uri": "file:/data/a%20b.svs",
        "args": ["--no-crop"],
        "metadata": metadata(400, 300),
    } | changes


def cropped(builder: dict[str, Any], x: int, y: int, width: int, height: int) -> dict[str, Any]:
    region = {"x": x, "y": y, "width": width, "height": height, "z": 0, "t": 0}
    return {"builderType": "cropped", "builder": builder, "region": region}


def rotated(builder: dict[str, Any], rotation: str) -> dict[str, Any]:
    return {"builderType": "rotated", "builder": builder, "rotation": rotation}


def test_levels_are_known_where_qupath_does_not_change_the_image():
    levels = [{"downsample": 1.0, "width": 400, "height": 300}, {"downsample": 4.0, "width": 100, "height": 75}]
    builder = plain(metadata=metadata(400, 300) | {"levels": levels})

    assert parse_server(builder, LABEL).levels == ((400, 300), (100, 75))
    assert parse_server(rotated(builder, "ROTATE_180"), LABEL).levels == ()
    assert parse_server(plain(), LABEL).levels == ()


def test_a_plain_image_is_its_file_as_qupath_opens_it():
    server = parse_server(plain(), LABEL)

    assert server.uri == "file:/data/a%20b.svs"
    assert server.provider.endswith("OpenslideServerBuilder")
    assert server.args == ("--no-crop",)
    assert server.transforms == ()
    assert (server.width_px, server.height_px) == (400, 300)
    assert (server.size_z, server.size_t) == (3, 2)
    assert server.calibration == PixelCalibration(mpp_x=0.25, mpp_y=0.5)
    assert server.is_rgb


def test_crops_and_turns_come_in_the_order_in_which_qupath_applies_them():
    inner = cropped(plain(), 10, 20, 200, 100)

    server = parse_server(cropped(rotated(inner, "ROTATE_90"), 1, 2, 30, 40), LABEL)

    assert server.transforms == (
        Region(x_px=10, y_px=20, width_px=200, height_px=100),
        Rotation.ROTATE_90,
        Region(x_px=1, y_px=2, width_px=30, height_px=40),
    )
    assert (server.width_px, server.height_px) == (30, 40)
    assert server.calibration == PixelCalibration(mpp_x=0.5, mpp_y=0.25)
    assert server.args == ("--no-crop",)


@pytest.mark.parametrize(
    ("rotation", "size", "mpp"),
    [
        ("ROTATE_NONE", (400, 300), (0.25, 0.5)),
        ("ROTATE_90", (300, 400), (0.5, 0.25)),
        ("ROTATE_180", (400, 300), (0.25, 0.5)),
        ("ROTATE_270", (300, 400), (0.5, 0.25)),
    ],
)
def test_quarter_turns_exchange_the_axes(rotation, size, mpp):
    server = parse_server(rotated(plain(), rotation), LABEL)

    assert (server.width_px, server.height_px) == size
    assert server.calibration == PixelCalibration(mpp_x=mpp[0], mpp_y=mpp[1])
    assert server.transforms == (() if rotation == "ROTATE_NONE" else (Rotation[rotation],))


def test_what_the_outermost_builder_says_of_the_image_counts():
    turned = rotated(plain(), "ROTATE_90") | {"metadata": metadata(299, 399, (0.6, 0.3))}

    server = parse_server(turned, LABEL)

    assert (server.width_px, server.height_px) == (299, 399)
    assert server.calibration == PixelCalibration(mpp_x=0.6, mpp_y=0.3)


@pytest.mark.parametrize(
    "uncalibrated",
    [
        metadata(9, 9, unit="px"),
        metadata(9, 9, unit="mm"),
        metadata(9, 9, mpp=(0.25, 0)),
        metadata(9, 9, mpp=(float("nan"), 0.25)),
        {"width": 9, "height": 9},
    ],
)
def test_only_positive_micrometers_are_a_pixel_size(uncalibrated):
    assert parse_server(plain(metadata=uncalibrated), LABEL).calibration is None


def test_the_greek_letter_means_micrometers_too():
    assert parse_server(plain(metadata=metadata(9, 9, unit="\u03bcm")), LABEL).calibration is not None


def test_images_that_are_not_rgb_are_recorded_as_such():
    assert not parse_server(plain(metadata=metadata(9, 9) | {"isRGB": False}), LABEL).is_rgb


def test_a_builder_needs_only_its_uri():
    server = parse_server({"uri": "file:/x.svs"}, LABEL)

    assert server.width_px is None
    assert server.calibration is None


@pytest.mark.parametrize("kind", ["channels", "affine", "color_deconvolved", "flipped", "sparse", "newer"])
def test_other_servers_are_refused_by_name_wherever_they_are_nested(kind):
    for builder in ({"builderType": kind}, rotated({"builderType": kind, "builder": plain()}, "ROTATE_90")):
        with pytest.raises(UnsupportedImageError, match=f"{LABEL} .* '{kind}' server"):
            parse_server(builder, LABEL)


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ({}, "no uri"),
        (plain(uri=""), "no uri"),
        (plain(uri=7), "uri"),
        (plain(args="x"), "args"),
        (plain(metadata={"width": 3}), "height"),
        ({"builderType": "cropped", "region": {"x": 0, "y": 0, "width": 1, "height": 1}}, "no uri"),
        ({"builderType": "cropped", "builder": plain()}, "without a region"),
        (cropped(plain(), 0, 0, 0, 5), "must have an area"),
        (rotated(plain(), "ROTATE_45"), "ROTATE_45"),
        (rotated(plain(), ""), "rotation"),
    ],
)
def test_what_qupath_never_writes_is_told_with_the_entry(builder, message):
    with pytest.raises(DamagedProjectError, match=f"{LABEL}.*{message}"):
        parse_server(builder, LABEL)
