import math

import pytest

from qpbridge.errors import InvalidValueError
from qpbridge.inference.outlining import DEFAULT_MIN_AREA_UM2, Outlining


def test_small_regions_go_unless_one_says_otherwise() -> None:
    assert Outlining() == Outlining(min_area_um2=DEFAULT_MIN_AREA_UM2, smooth_um=0)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_nonsense_sizes_are_refused(value: float) -> None:
    with pytest.raises(InvalidValueError, match="min-area-um2 must be 0 or more"):
        Outlining(min_area_um2=value)
    with pytest.raises(InvalidValueError, match="smooth-um must be 0 or more"):
        Outlining(smooth_um=value)
