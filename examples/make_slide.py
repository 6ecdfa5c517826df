"""Make a procedural H&E slide with its truth, read it back, and look at what is in it.

Run it with ``uv run python examples/make_slide.py [FOLDER]``.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import openslide

from qpbridge.slides.synthetic import SyntheticSpec, make_slide, write_slide
from qpbridge.slides.synthetic.annotations import nucleus_detections, partial_annotations


def main(folder: Path) -> None:
    slide = make_slide(SyntheticSpec(width_px=2048, height_px=2048, mpp=1.0, seed=4))
    path = folder / "synthetic.tif"
    write_slide(path, slide)
    with openslide.OpenSlide(path) as file:
        print(f"{path}: levels {file.level_dimensions}, {file.properties['openslide.mpp-x']} µm/px")

    labels = slide.labels(slide.bounds, 512, 512)
    shares = np.bincount(labels.ravel(), minlength=len(slide.classes)) / labels.size
    print("truth:", ", ".join(f"{c.name} {share:.1%}" for c, share in zip(slide.classes, shares, strict=True)))

    annotations = partial_annotations(slide, share=0.05)
    drawn = sum(item.geometry.area for item in annotations) / (slide.width_px * slide.height_px)
    print(f"{len(annotations)} annotations cover {drawn:.1%} of the slide")

    nuclei = Counter(item.path_class.name for item in nucleus_detections(slide) if item.path_class)
    print("nuclei:", ", ".join(f"{name} {count}" for name, count in nuclei.most_common()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
