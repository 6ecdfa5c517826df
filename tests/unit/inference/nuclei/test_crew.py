import numpy as np
import pytest
from made_tissue import MPP, Tissue

from qpbridge.inference.nuclei.crew import harvest_all
from qpbridge.inference.nuclei.decoding import Decoding
from qpbridge.inference.nuclei.harvesting import Harvesting, harvest, joined

HARVESTING = Harvesting(decoding=Decoding(max_extent_um=14.0, reach_um=4.0), mpp=MPP)


@pytest.mark.parametrize("workers", [0, 1])
def test_all_blocks_are_harvested_in_their_order(crowd: Tissue, workers: int) -> None:
    blocks = [crowd.block(x=x, width=50, margin=HARVESTING.margin_px) for x in range(0, 200, 50)]

    found = list(harvest_all(iter(blocks), HARVESTING, workers))

    assert [len(one) for one in found] == [len(harvest(block, HARVESTING)) for block in blocks]
    expected = joined([harvest(block, HARVESTING) for block in blocks])
    assert (joined(found).centroids == expected.centroids).all()
    assert all(mine.equals(other) for mine, other in zip(joined(found).outlines, expected.outlines, strict=True))


def test_blocks_without_nuclei_are_passed_over(crowd: Tissue) -> None:
    blank = Tissue(truth=crowd.truth, mask=np.full_like(crowd.mask, 100), marker=crowd.marker)

    assert len(list(harvest_all([blank.block(), crowd.block()], HARVESTING, 0))) == 1


def test_blocks_are_asked_for_when_there_is_room(crowd: Tissue) -> None:
    asked = []

    def blocks():  # type: ignore[no-untyped-def]
        for x in range(0, 200, 20):
            asked.append(x)
            yield crowd.block(x=x, width=20, margin=HARVESTING.margin_px)

    next(harvest_all(blocks(), HARVESTING, 1))

    assert len(asked) <= 4


def test_what_goes_wrong_in_a_worker_is_told(crowd: Tissue) -> None:
    block = crowd.block()
    block.layers["marker"] = block.layers["marker"][:, :5]  # type: ignore[index]

    with pytest.raises(ValueError, match="shape"):
        list(harvest_all([block], HARVESTING, 1))
