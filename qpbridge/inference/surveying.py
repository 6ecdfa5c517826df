"""What a network says of places rather than of pixels, as tile objects: QuPath draws them as measurement maps."""

from __future__ import annotations

import shapely

from qpbridge.core.geometry import Region
from qpbridge.core.objects import ObjectKind, PathObject
from qpbridge.core.progress import Progress
from qpbridge.inference.engine import Engine, Segmenter
from qpbridge.inference.objects import Identity
from qpbridge.inference.predicting import Scene, computed, core_of, prepare
from qpbridge.models.family import Survey

_LITTLE_ENDIAN = 1


def survey_tiles(
    survey: Survey, engine: Engine, scene: Scene, identity: Identity, progress: Progress, margin_px: int | None = None
) -> list[PathObject]:
    """Return one tile object for each tile that the network is shown, with what is measured there.

    Parameters
    ----------
    survey : Survey
        What is measured.
    engine : Engine
        Of the model whose tiles these are.
    scene : Scene
        Slide and region.
    identity : Identity
        Of slide and model.
    progress : Progress
        Asked before every batch whether to go on.
    margin_px : int or None
        As in prediction.

    Returns
    -------
    list of PathObject
        Row by row; tiles end at the borders of the scene's region, and do not overlap.
    """
    measuring = Engine(
        Segmenter(
            network=survey.network, views=survey.views, classes=(), probabilities=lambda outputs: outputs[survey.head]
        ),
        engine.runtime,
        progress,
    )
    mosaic, tiles = prepare(engine, scene, margin_px)
    objects: list[PathObject] = []
    for batch, values in computed(measuring.probabilities, measuring, scene, tiles, progress):
        for tile, measured in zip(batch, values.tolist(), strict=True):
            outline = _outline(core_of(mosaic.grid, tile), scene.region)
            wkb = shapely.to_wkb(outline, byte_order=_LITTLE_ENDIAN)
            objects.append(
                PathObject(
                    id=identity.object_id("(place)", wkb),
                    kind=ObjectKind.TILE,
                    geometry=outline,
                    measurements=dict(zip(survey.names, measured, strict=True)),
                )
            )
    return objects


def _outline(core: Region, within: Region) -> shapely.Polygon:
    left, top = max(core.x_px, within.x_px), max(core.y_px, within.y_px)
    return shapely.box(left, top, min(core.right_px, within.right_px), min(core.bottom_px, within.bottom_px))
