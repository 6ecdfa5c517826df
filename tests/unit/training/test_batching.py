import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import FieldOfView, View
from qpbridge.training.batching import batches, collate, images_to_tensor
from qpbridge.training.reading import PatchPixels

VIEWS = (
    View(name="x1", fov=FieldOfView(size_px=16, mpp=0.5)),
    View(name="x2", fov=FieldOfView(size_px=16, mpp=1.0)),
)


def numbered(number: int, delay_s: float = 0.0) -> Callable[[], PatchPixels]:
    def job() -> PatchPixels:
        time.sleep(delay_s)
        images = tuple(np.full((16, 16, 3), number, np.uint8) for _ in VIEWS)
        return PatchPixels(views=images, labels=np.full((16, 16), number, np.uint8))

    return job


@pytest.mark.parametrize(("jobs", "batch_size", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 8, [2]), (0, 4, [])])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_keep_the_order_and_the_last_may_be_smaller(
    jobs: int, batch_size: int, sizes: list[int], threads: int
) -> None:
    # The first of every three takes longest.
    slow = [numbered(i, delay_s=0.01 * (i % 3 == 0)) for i in range(jobs)]

    made = list(batches(slow, VIEWS, batch_size, threads))

    assert [len(batch.labels) for batch in made] == sizes
    assert [int(label) for batch in made for label in batch.labels[:, 0, 0]] == list(range(jobs))


def test_no_more_is_made_ahead_than_a_batch_and_one_sample_a_thread() -> None:
    begun: list[int] = []
    jobs = [lambda i=i: (begun.append(i), numbered(i)())[1] for i in range(50)]

    made = batches(jobs, VIEWS, batch_size=4, threads=2)
    next(made)
    time.sleep(0.1)
    ahead = len(begun)
    made.close()

    assert 4 < ahead <= 4 + (4 + 2)


def threads_alive() -> int:
    return sum(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())


def test_a_failing_sample_ends_the_batches_and_their_threads() -> None:
    def broken() -> PatchPixels:
        raise OSError("torn slide")

    before = threads_alive()
    made = batches([numbered(0), numbered(1), broken, *[numbered(i) for i in range(3, 40)]], VIEWS, 2, threads=2)

    assert len(next(made).labels) == 2
    with pytest.raises(OSError, match="torn slide"):
        next(made)
    assert threads_alive() == before
    assert list(made) == []


def test_closing_waits_for_the_samples_in_the_making_and_drops_the_rest() -> None:
    running, done = threading.Event(), []

    def slow() -> PatchPixels:
        running.set()
        time.sleep(0.1)
        done.append(1)
        return numbered(0)()

    before = threads_alive()
    made = batches([numbered(0), *[slow] * 20], VIEWS, batch_size=1, threads=1)
    next(made)
    running.wait(5)

    made.close()

    after = len(done)
    time.sleep(0.15)
    assert after == len(done) <= 2
    assert threads_alive() == before


def test_tensors_have_the_layout_that_networks_take() -> None:
    rng = np.random.default_rng(0)
    images: list[RgbImage] = [rng.integers(0, 256, (16, 12, 3), np.uint8) for _ in range(2)]

    tensor = images_to_tensor(images)

    assert tensor.dtype is torch.float32
    assert tensor.shape == (2, 3, 16, 12)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(tensor[1, 2].numpy(), images[1][..., 2] / 255, rtol=1e-6)


def test_a_batch_holds_each_view_by_name_and_labels_as_numbers() -> None:
    labels: LabelMap = np.full((16, 16), IGNORE_INDEX, np.uint8)
    labels[0, 0] = 3
    pixels = PatchPixels(views=tuple(np.full((16, 16, 3), 51 * (i + 1), np.uint8) for i in range(2)), labels=labels)

    batch = collate([pixels], VIEWS).to(torch.device("cpu"))

    assert list(batch.views) == ["x1", "x2"]
    torch.testing.assert_close(batch.views["x2"], torch.full((1, 3, 16, 16), 0.4))
    assert batch.labels.dtype is torch.int64
    assert sorted(batch.labels.unique().tolist()) == [3, IGNORE_INDEX]
