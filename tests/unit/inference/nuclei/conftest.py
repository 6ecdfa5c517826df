"""A crowd of nuclei that touch."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_tissue import Tissue, tissue


@pytest.fixture(scope="session")
def crowd() -> Tissue:
    """A hundred and more nuclei that touch, and a clear mask."""
    found = tissue(0)
    return Tissue(truth=found.truth, mask=np.where(found.truth > 0, 240, 5).astype(np.uint8), marker=found.marker)
