from __future__ import annotations

import pytest
import shapely

from qpbridge.qupath.paquo_backend.inside import areas
from qpbridge.qupath.paquo_backend.inside.areas import trial_outlines
from qpbridge.qupath.paquo_backend.records import AREA_KEPT_MIN, QuPathFacts


def test_trial_outlines_are_sound_rings_of_many_close_vertices():
    outlines = list(trial_outlines())

    assert len(outlines) == 32
    assert all(outline.is_valid and not outline.interiors for outline in outlines)
    assert min(shapely.get_num_coordinates(outlines)) > 50
    assert [one.wkb for one in trial_outlines()] == [one.wkb for one in outlines]


@pytest.mark.qupath
def test_a_qupath_keeps_areas_or_is_not_trusted(qupath):
    facts: QuPathFacts = qupath.start()

    assert 0 < facts.area_kept <= 1
    assert facts.keeps_areas == (facts.area_kept >= AREA_KEPT_MIN)
    assert qupath.ask(areas.area_kept) == facts.area_kept
    if facts.java_version.startswith("17."):
        assert facts.keeps_areas
