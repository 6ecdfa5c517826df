"""Opening a slide file as QuPath shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from qpbridge.core.image_server import ImageServer
from qpbridge.errors import DamagedSlideError, SlideMismatchError, SlideNotFoundError, UnsupportedImageError
from qpbridge.slides.array_source import open_with_pillow
from qpbridge.slides.openslide_source import GENERIC_TIFF, detect_vendor, open_with_openslide
from qpbridge.slides.slide import LEVEL_TOLERANCE, PixelSource, Slide
from qpbridge.slides.tiff_source import check_rgb, open_with_tifffile
from qpbridge.slides.transforms import transformed

Opener: TypeAlias = Callable[[Path, ImageServer], PixelSource | None]
"""Opens a file, or returns None where it does not know the format."""

LEVEL_ROUNDING_PX: Final = 2
"""How much the sizes that two readers state for one level may differ, px, beside ``LEVEL_TOLERANCE``."""

SERIES: Final = "--series"
"""Argument of QuPath's Bio-Formats reader: which image of the file to show."""


def _openslide(path: Path, server: ImageServer) -> PixelSource | None:
    # Only QuPath's OpenSlide reader crops to the bounds; a bare slide is shown by that reader.
    is_cropped = not server.provider or "openslide" in server.provider.lower()
    if detect_vendor(path) == GENERIC_TIFF:
        check_rgb(path)
    return open_with_openslide(path, server.args, is_cropped=is_cropped)


def _tifffile(path: Path, _server: ImageServer) -> PixelSource | None:
    return open_with_tifffile(path)


def _pillow(path: Path, _server: ImageServer) -> PixelSource | None:
    return open_with_pillow(path)


_SCAN: Final = (_openslide,)
_TIFF: Final = (_openslide, _tifffile)
_PICTURE: Final = (_pillow,)

OPENERS: Final[Mapping[str, tuple[Opener, ...]]] = {
    ".svs": _TIFF,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".btf": _TIFF,
    ".ndpi": _TIFF,
    ".scn": _TIFF,
    ".qptiff": _TIFF,
    ".svslide": _SCAN,
    ".bif": _TIFF,
    ".mrxs": _SCAN,
    ".vms": _SCAN,
    ".vmu": _SCAN,
    ".czi": _SCAN,
    ".dcm": _SCAN,
    ".png": _PICTURE,
    ".jpg": _PICTURE,
    ".jpeg": _PICTURE,
    ".bmp": _PICTURE,
}
"""Who opens a file of which name; asked in this order."""


def open_slide(path: Path, server: ImageServer | None = None) -> Slide:
    """Open a slide.

    Parameters
    ----------
    path : Path
        Where the file lies now.
    server : ImageServer or None
        How the project shows it: crop to the slide's bounds, crops and turns, and the size to expect.
        None opens the bare file as QuPath would when it is added to a project.

    Returns
    -------
    Slide
        To be closed by the caller, e.g. with ``with``.

    Raises
    ------
    SlideNotFoundError
        If there is no such file.
    UnsupportedImageError
        If it is of a kind that is not read: not RGB, a stack, or an unknown format.
    SlideMismatchError
        If its size or resolutions are not those that the project states.
    DamagedSlideError
        If it cannot be opened although its format is one that is read.
    """
    if not path.is_file():
        raise SlideNotFoundError(f"there is no file {path}; give the place of the slide with --path-map FROM=TO")
    if server is None:
        server = ImageServer(uri=path.absolute().as_uri())
    _check_kind(path, server)
    source = _open(path, server)
    try:
        shown = transformed(source, server.transforms)
        _check_size(shown, server)
        _check_levels(shown, server)
        _check_levels(shown, server)
    except SlideMismatchError:
        source.close()
        raise
    return Slide(shown)


def _check_kind(path: Path, server: ImageServer) -> None:
    faults = {
        "not RGB with 8 bits a channel": not server.is_rgb,
        f"a stack of {server.size_z} z-slices": server.size_z > 1,
        f"a series of {server.size_t} time points": server.size_t > 1,
        f"image {_series(server)} of several in its file": _series(server) != "0",
    }
    kinds = [kind for kind, is_so in faults.items() if is_so]
    if kinds:
        raise UnsupportedImageError(
            f"{path.name} is {' and '.join(kinds)}; only single images of three 8-bit channels (RGB) can be read"
        )


def _series(server: ImageServer) -> str:
    following = dict(zip(server.args, server.args[1:], strict=False))
    return following.get(SERIES, "0")


def _open(path: Path, server: ImageServer) -> PixelSource:
    openers = OPENERS.get(path.suffix.lower())
    if openers is None:
        # Rare formats have names of their own, but OpenSlide looks at the content.
        source = _openslide(path, server)
        if source is None:
            raise UnsupportedImageError(
                f"{path} is of no format that is read ({', '.join(OPENERS)}); convert it to a pyramidal TIFF"
            )
        return source
    for opener in openers:
        source = opener(path, server)
        if source is not None:
            return source
    raise DamagedSlideError(
        f"{path} is no {path.suffix.lower()} file inside ({path.stat().st_size} bytes); copy it again from its origin"
    )


def _check_size(source: PixelSource, server: ImageServer) -> None:
    expected = server.width_px, server.height_px
    if None not in expected and expected != (source.width_px, source.height_px):
        raise SlideMismatchError(
            f"{source.path} has {source.width_px} x {source.height_px} px, but the project describes an image of "
            f"{server.width_px} x {server.height_px} px; is it the right file?"
        )


def _check_levels(source: PixelSource, server: ImageServer) -> None:
    """Refuse a file without the resolutions that the project states.

    Only those are comparable that OpenSlide told QuPath: other readers leave some out, or make some up.
    """
    sizes = [(source.width_px / level.downsample_x, source.height_px / level.downsample_y) for level in source.levels]
    if "openslide" not in server.provider.lower() or min(len(sizes), len(server.levels)) < 2:
        return
    strange = [stated for stated in server.levels if not any(_is_alike(stated, size) for size in sizes)]
    if strange:
        listed = ", ".join(f"{width} x {height}" for width, height in strange)
        raise SlideMismatchError(
            f"{source.path} has no resolution of {listed} px, but the project describes an image that has; is it the"
            " right file?"
        )


def _is_alike(stated: tuple[int, int], size: tuple[float, float]) -> bool:
    return all(abs(a - b) <= LEVEL_ROUNDING_PX + LEVEL_TOLERANCE * b for a, b in zip(stated, size, strict=True))
