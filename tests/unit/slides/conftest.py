from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

SCN = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="a" sizeX="2000000" sizeY="1500000">
{images}</collection></scn>"""

SCN_IMAGE = """<image name="{name}"><creationDate>x</creationDate><device model="m" version="1"/>
<pixels sizeX="{width}" sizeY="{height}">{dimensions}</pixels>
<view sizeX="{size[0]}" sizeY="{size[1]}" offsetX="{offset[0]}" offsetY="{offset[1]}"/>
<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>
<numericalAperture>0.5</numericalAperture><illuminationSource>brightfield</illuminationSource>
</illuminationSettings></scanSettings></image>"""


@pytest.fixture
def write_tiff(tmp_path: Path) -> Callable[..., Path]:
    """Write a pyramid of directories, the finest first."""

    def write(levels: Sequence[np.ndarray], name: str = "a.tif", **options: Any) -> Path:
        options = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate", "metadata": None} | options
        with tifffile.TiffWriter(tmp_path / name, bigtiff=options.pop("bigtiff", False)) as file:
            for index, level in enumerate(levels):
                file.write(level, subfiletype=int(index > 0), **options)
        return tmp_path / name

    return write


@pytest.fixture
def leica_scan(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A Leica scan of 1200 x 900 px at (1000, 600) on a slide of 4000 x 3000 px, 500 nm a px; and its levels."""
    random = np.random.default_rng(2)
    macro, fine, coarse = (
        random.integers(0, 256, (h, w, 3), dtype=np.uint8) for w, h in ((400, 300), (1200, 900), (300, 225))
    )
    images = [
        SCN_IMAGE.format(
            name="macro",
            width=400,
            height=300,
            dimensions='<dimension sizeX="400" sizeY="300" r="0" ifd="0"/>',
            size=(2_000_000, 1_500_000),
            offset=(0, 0),
        ),
        SCN_IMAGE.format(
            name="scan",
            width=1200,
            height=900,
            dimensions='<dimension sizeX="1200" sizeY="900" r="0" ifd="1"/>'
            '<dimension sizeX="300" sizeY="225" r="1" ifd="2"/>',
            size=(600_000, 450_000),
            offset=(500_000, 300_000),
        ),
    ]
    path = tmp_path / "a.scn"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for index, pixels in enumerate((macro, fine, coarse)):
            file.write(
                pixels,
                tile=(256, 256),
                photometric="rgb",
                compression="deflate",
                description=SCN.format(images="".join(images)) if index == 0 else None,
                metadata=None,
                subfiletype=int(index == 2),
                resolution=(20000, 20000),
                resolutionunit="CENTIMETER",
            )
    return path, fine, coarse
