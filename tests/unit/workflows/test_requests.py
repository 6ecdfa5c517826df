from pathlib import Path

import pytest

from qpbridge.errors import InvalidValueError
from qpbridge.workflows.requests import TrainRequest


def test_a_training_without_family_and_model_is_refused_at_once() -> None:
    with pytest.raises(InvalidValueError, match=r"--family.*--from"):
        TrainRequest(project=Path("p"), out=Path("m"))

    assert TrainRequest(project=Path("p"), out=Path("m"), base=Path("older")).family is None
