from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qpbridge.qupath.paquo_backend.inside import reading
from qpbridge.qupath.paquo_backend.inside.hierarchy import BY_VERTICES


@pytest.mark.qupath
def test_parents_come_before_their_children_and_columns_have_one_row_an_object(qupath, data_dir: Path):
    project = data_dir / "made" / "qp-0.6.0" / "project"
    path = project / "data" / "2" / "data.qpdata"

    found = qupath.ask(reading.read_data, str(project / "project.qpproj"), str(path)).hierarchy

    count = len(found.ids)
    assert count == 14
    assert all(parent < i for i, parent in enumerate(found.parents))
    assert found.flags.shape == (count, 6)
    assert found.measured.sum() == len(found.measurement_names) == len(found.measurement_values)
    assert found.shapes.counts.sum() == len(found.shapes.points)
    assert not BY_VERTICES & {found.shapes.kinds[i] for i in found.shapes.wkb}
    assert np.isnan(found.probabilities).all()
