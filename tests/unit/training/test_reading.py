import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from shapely import box

from qpbridge.core.arrays import IGNORE_INDEX, LabelMap, RgbImage
from qpbridge.core.geometry import FieldOfView, PixelCalibration, Region, View
from qpbridge.models.family import LABELS, Encoding, Truth
from qpbridge.models.recipe import Recipe
from qpbridge.slides.array_source import ArraySource
from qpbridge.slides.slide import Slide
from qpbridge.training.balancing import Sample
from qpbridge.training.batching import batches, collate
from qpbridge.training.patches import LabelledSlide, Labels, Patch
from qpbridge.training.reading import PatchPixels, PatchReader, SampleMaker, with_rims

VIEWS = (
    View(name="x1", fov=FieldOfView(size_px=16, mpp=0.5)),
    View(name="x2", fov=FieldOfView(size_px=16, mpp=1.0)),
)
PATCH_BYTES = 2 * 16 * 16 * 3
NO_CHANGE = Recipe(rot90_p=0, flip_p=0, color_p=0, mild_elastic_alpha=0)


class CountingSlide(Slide):
    """Tells which regions were read."""

    def __init__(self, pixels: RgbImage) -> None:
        super().__init__(ArraySource([pixels]))
        self.regions: list[Region] = []

    def read(self, region: Region, width: int, height: int) -> RgbImage:
        self.regions.append(region)
        return super().read(region, width, height)


@pytest.fixture
def slide() -> LabelledSlide:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    shapes = ((box(0, 0, 64, 64), 0), (box(0, 0, 30, 30), 1))
    calibration = PixelCalibration.square(0.5)
    return LabelledSlide(key="1", slide=CountingSlide(pixels), calibration=calibration, shapes=shapes)


def reads_of(slide: LabelledSlide) -> int:
    assert isinstance(slide.slide, CountingSlide)
    return len(slide.slide.regions)


def patch_at(x_px: float, y_px: float) -> Patch:
    return Patch(slide=0, center_px=(x_px, y_px))


def test_each_view_is_read_around_the_same_center(slide: LabelledSlide) -> None:
    images = PatchReader([slide], VIEWS).read(patch_at(30, 20))

    assert isinstance(slide.slide, CountingSlide)
    assert slide.slide.regions == [
        Region(x_px=22, y_px=12, width_px=16, height_px=16),
        Region(x_px=14, y_px=4, width_px=32, height_px=32),
    ]
    assert [image.shape for image in images] == [(16, 16, 3), (16, 16, 3)]
    np.testing.assert_array_equal(images[0], slide.slide.read(slide.slide.regions[0], 16, 16))


def test_a_patch_is_read_once_while_there_is_room(slide: LabelledSlide) -> None:
    reader = PatchReader([slide], VIEWS, cache_bytes=3 * PATCH_BYTES)
    patches = [patch_at(10 + i, 10) for i in range(3)]

    first = [reader.read(patch) for patch in patches]
    again = [reader.read(patch) for patch in patches]

    assert reads_of(slide) == 2 * 3
    assert all(one is two for one, two in zip(first, again, strict=True))


def test_beyond_the_limit_the_patch_used_longest_ago_is_read_again(slide: LabelledSlide) -> None:
    reader = PatchReader([slide], VIEWS, cache_bytes=2 * PATCH_BYTES)
    a, b, c = (patch_at(10 + i, 10) for i in range(3))

    for patch in (a, b, a, c):
        reader.read(patch)
    before = reads_of(slide)
    reader.read(a)
    reader.read(c)
    kept = reads_of(slide)
    reader.read(b)

    assert (before, kept, reads_of(slide)) == (6, 6, 8)


def test_memory_never_exceeds_the_limit_by_more_than_one_patch(slide: LabelledSlide) -> None:
    for patches_kept in (0, 1, 3):
        reader = PatchReader([slide], VIEWS, cache_bytes=patches_kept * PATCH_BYTES)
        for i in range(10):
            reader.read(patch_at(10 + i, 10))
            held = sum(image.nbytes for images in reader._kept.values() for image in images)
            assert held <= max(1, patches_kept) * PATCH_BYTES


def test_many_threads_share_the_memory(slide: LabelledSlide) -> None:
    reader = PatchReader([slide], VIEWS, cache_bytes=4 * PATCH_BYTES)
    patches = [patch_at(10 + i % 7, 10) for i in range(70)]
    expected = {patch: PatchReader([slide], VIEWS).read(patch)[0] for patch in patches}

    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(reader.read, patches))

    for patch, image in zip(patches, images, strict=True):
        np.testing.assert_array_equal(image[0], expected[patch])
    held = sum(image.nbytes for one in reader._kept.values() for image in one)
    assert held == 4 * PATCH_BYTES
    assert reader._room == 0


def maker_of(slide: LabelledSlide, recipe: Recipe, seed: int = 0) -> tuple[SampleMaker, Labels]:
    return SampleMaker(PatchReader([slide], VIEWS), VIEWS, recipe, seed, Encoding(classes=2)), Labels(
        [slide], VIEWS[0].fov, 2
    )


def test_a_plain_sample_is_what_lies_there(slide: LabelledSlide) -> None:
    maker, labels = maker_of(slide, Recipe())
    patch = patch_at(30, 20)

    sample = maker.plain(patch, labels)

    for image, view in zip(sample.views, PatchReader([slide], VIEWS).read(patch), strict=True):
        np.testing.assert_array_equal(image, view)
    np.testing.assert_array_equal(sample.labels, labels.of(patch))


def test_without_augmentation_the_patch_itself_stays_and_its_copy_is_deformed(slide: LabelledSlide) -> None:
    maker, labels = maker_of(slide, NO_CHANGE)
    patch = patch_at(30, 20)
    plain = maker.plain(patch, labels)

    itself = maker.augmented(Sample(0, 0), [patch], labels, (1, 0))
    copies = [maker.augmented(Sample(0, 1), [patch], labels, turn) for turn in ((1, 0), (1, 1), (2, 0))]
    other = maker.augmented(Sample(0, 2), [patch], labels, (1, 0))

    assert is_same(itself, plain)
    assert not is_same(copies[0], plain)
    assert is_same(copies[0], copies[1])
    assert is_same(copies[0], copies[2])
    assert not is_same(copies[0], other)


def test_every_turn_changes_a_sample_anew_and_labels_go_along(slide: LabelledSlide) -> None:
    maker, labels = maker_of(slide, Recipe(rot90_p=1, flip_p=0.5, color_p=0, mild_elastic_alpha=0))
    patch = patch_at(30, 20)
    plain = maker.plain(patch, labels)

    for epoch in range(1, 12):
        sample = maker.augmented(Sample(0, 0), [patch], labels, (epoch, 0))
        ways = [
            (np.rot90(np.flip(plain.views[0], 1) if flip else plain.views[0], turns), flip, turns)
            for flip, turns in itertools.product((False, True), range(4))
        ]
        ((flip, turns),) = [(f, t) for image, f, t in ways if np.array_equal(image, sample.views[0])]
        for moved, still in ((sample.views[1], plain.views[1]), (sample.labels, plain.labels)):
            np.testing.assert_array_equal(moved, np.rot90(np.flip(still, 1) if flip else still, turns))
    seen = {maker.augmented(Sample(0, 0), [patch], labels, (1, turn)).views[0].tobytes() for turn in range(30)}
    assert len(seen) == 8


def test_one_change_of_color_serves_all_views(slide: LabelledSlide) -> None:
    recipe = Recipe(rot90_p=0, flip_p=0, color_p=1, hue_shift=0, saturation_shift=0, mild_elastic_alpha=0)
    maker, labels = maker_of(slide, recipe)
    patch = patch_at(30, 20)
    plain = maker.plain(patch, labels)

    sample = maker.augmented(Sample(0, 0), [patch], labels, (1, 0))

    tables = []
    for before, after in zip(plain.views, sample.views, strict=True):
        tables.append(dict(zip(before.ravel().tolist(), after.ravel().tolist(), strict=True)))
        np.testing.assert_array_equal(np.vectorize(tables[-1].get)(before), after)
    shared = tables[0].keys() & tables[1].keys()
    assert len(shared) > 20
    assert all(tables[0][value] == tables[1][value] for value in shared)
    np.testing.assert_array_equal(sample.labels, plain.labels)


def colored_slide(*boxes: tuple[int, int, int, int]) -> LabelledSlide:
    """Labels 0, 1 and none in pure red, green and blue, so that pixels tell what they show."""
    labels = np.full((96, 96), 2)
    shapes = tuple((box(*edges), label) for label, edges in enumerate(boxes))
    for label, (left, top, right, bottom) in enumerate(boxes):
        labels[top:bottom, left:right] = label
    pixels = (255 * np.eye(3)[labels]).astype(np.uint8)
    return LabelledSlide(key="1", slide=CountingSlide(pixels), calibration=PixelCalibration.square(0.5), shapes=shapes)


def test_what_is_labelled_is_pasted_on_the_ground_in_every_view(slide: LabelledSlide) -> None:
    some = replace(slide, shapes=((box(0, 0, 30, 30), 1), (box(40, 40, 64, 64), 0)))
    maker, labels = maker_of(some, NO_CHANGE)
    patches = [patch_at(26, 26), patch_at(46, 46)]
    upper, ground = (maker.plain(patch, labels) for patch in patches)

    pasted = maker.augmented(Sample(0, ground=1), patches, labels, (1, 0))

    # The views show the slide from 18 to 34 px and from 10 to 42 px, two of these in a pixel.
    fine, coarse = np.arange(18, 34), np.arange(10, 42, 2)
    masks = [np.logical_and.outer(places < 30, places < 30) for places in (fine, coarse)]
    masks[1] |= np.logical_and.outer(coarse >= 40, coarse >= 40)
    for mask, view, over, under in zip(masks, pasted.views, upper.views, ground.views, strict=True):
        np.testing.assert_array_equal(view, np.where(mask[..., None], over, under))
    assert (over != under).any()
    np.testing.assert_array_equal(pasted.labels, np.where(masks[0], 1, ground.labels))
    assert set(np.unique(pasted.labels)) == {0, 1, IGNORE_INDEX}


def test_only_what_is_pasted_has_the_deformation_of_its_copy(slide: LabelledSlide) -> None:
    some = replace(slide, shapes=((box(0, 0, 30, 30), 1), (box(44, 44, 64, 64), 0)))
    maker, labels = maker_of(some, NO_CHANGE)
    patches = [patch_at(26, 26), patch_at(46, 46)]
    deformed = maker.augmented(Sample(0, 1), patches, labels, (1, 0))

    pasted = maker.augmented(Sample(0, 1, ground=1), patches, labels, (1, 0))

    is_pasted = deformed.labels != IGNORE_INDEX
    assert 0 < is_pasted.mean() < 1
    ground = maker.plain(patches[1], labels)
    np.testing.assert_array_equal(pasted.labels, np.where(is_pasted, deformed.labels, ground.labels))
    np.testing.assert_array_equal(pasted.views[0], np.where(is_pasted[..., None], deformed.views[0], ground.views[0]))


def shown(image: RgbImage) -> LabelMap:
    """What pure colors tell; 3 where two are mixed."""
    label = image.argmax(axis=2)
    return np.where(image.max(axis=2) == 255, label, 3).astype(np.uint8)


def test_pasted_pixels_keep_their_labels_and_lie_at_one_place_in_all_views() -> None:
    slide = colored_slide((20, 16, 60, 44), (48, 40, 80, 72))
    maker, labels = maker_of(slide, replace(NO_CHANGE, rot90_p=1, flip_p=0.5, mild_elastic_alpha=1))
    patches = [patch_at(30, 44), patch_at(64, 44), patch_at(52, 70)]

    samples = [
        maker.augmented(Sample(turn % 3, ground=(turn + 1) % 3), patches, labels, (1, turn)) for turn in range(60)
    ]

    for sample in samples:
        fine, coarse = (shown(view) for view in sample.views)
        known = fine != 3
        assert known.mean() > 0.6
        np.testing.assert_array_equal(fine[known], np.where(sample.labels == IGNORE_INDEX, 2, sample.labels)[known])
        four = fine.reshape(8, 2, 8, 2)
        is_pure = (four == four[:, :1, :, :1]).all(axis=(1, 3)) & (four[:, 0, :, 0] != 3)
        inner = coarse[4:12, 4:12]
        is_pure &= inner != 3
        assert is_pure.mean() > 0.3
        assert (four[:, 0, :, 0][is_pure] == inner[is_pure]).mean() > 0.95
    assert len({sample.views[0].tobytes() for sample in samples}) > 40


def test_what_is_pasted_of_a_copy_is_cut_out_of_the_coarse_view_as_its_pixels_are_deformed() -> None:
    maker, labels = maker_of(colored_slide((34, 26, 46, 38)), replace(NO_CHANGE, elastic_sigma_px=2))
    patches = [patch_at(40, 32), patch_at(8, 88)]  # around the label, and far from it

    for copy in range(1, 21):
        deformed, pasted = (maker.augmented(Sample(0, copy, ground), patches, labels, (1, 0)) for ground in (None, 1))

        # All else is blue, so that a label cut out at the wrong place loses pixels.
        red = shown(deformed.views[1]) == 0
        assert np.count_nonzero(red) > 10
        np.testing.assert_array_equal(pasted.views[1][red], deformed.views[1][red])


def test_ground_is_turned_and_recolored_on_its_own(slide: LabelledSlide) -> None:
    recipe = Recipe(rot90_p=1, flip_p=0.5, color_p=1, stain_jitter=0.3, mild_elastic_alpha=0)
    blank = replace(slide, shapes=())
    maker, labels = maker_of(blank, recipe)
    patches = [patch_at(26, 26), patch_at(40, 40)]

    own, on_itself, on_other = (
        maker.augmented(Sample(0, ground=ground), patches, labels, (1, 0)) for ground in (None, 0, 1)
    )

    # Nothing is labelled, so all is ground.
    assert not is_same(on_itself, own)
    assert not is_same(on_other, on_itself)
    assert (on_other.labels == IGNORE_INDEX).all()


def is_same(one: PatchPixels, two: PatchPixels) -> bool:
    pairs = zip((*one.views, one.labels), (*two.views, two.labels), strict=True)
    return all(np.array_equal(first, second) for first, second in pairs)


def test_samples_follow_from_the_seed_alone(slide: LabelledSlide) -> None:
    recipe = Recipe(color_p=1, stain_jitter=0.2, rotation_p=1, scale_jitter=0.1)
    patches = [patch_at(20 + i, 20) for i in range(6)]

    def run(seed: int, threads: int) -> list[torch.Tensor]:
        maker, labels = maker_of(slide, recipe, seed)
        jobs = [
            lambda i=i, copy=copy, ground=ground: maker.augmented(Sample(i, copy, ground), patches, labels, (3, i))
            for i in range(6)
            for copy, ground in ((0, None), (1, None), (0, 5 - i))
        ]
        made = list(batches(jobs, VIEWS, batch_size=4, threads=threads))
        return [tensor for batch in made for tensor in (*batch.views.values(), batch.labels)]

    one, many, other = run(0, threads=1), run(0, threads=4), run(1, threads=4)

    assert all(torch.equal(first, second) for first, second in zip(one, many, strict=True))
    assert not any(torch.equal(first, second) for first, second in zip(one, other, strict=True))


def test_a_family_gets_the_truth_it_asks_for_in_the_frame_of_its_view(slide: LabelledSlide) -> None:
    told: list[Truth] = []

    def encode(truth: Truth) -> dict[str, npt.NDArray[np.float32]]:
        told.append(truth)
        assert truth.surroundings is not None
        return {"share": np.array([(truth.surroundings == 1).mean()], np.float32)}

    encoding = Encoding(classes=2, asks_for=frozenset({"surroundings"}), encode=encode)
    maker = SampleMaker(PatchReader([slide], VIEWS), VIEWS, NO_CHANGE, 0, encoding)
    labels, patch = Labels([slide], VIEWS[0].fov, 2), patch_at(24, 24)

    samples = [maker.plain(patch, labels), maker.augmented(Sample(0), [patch], labels, (1, 0))]
    pasted = maker.augmented(Sample(0, ground=0), [patch], labels, (1, 0))

    for truth in told:
        assert (truth.mpp, truth.classes) == (0.5, 2)
        np.testing.assert_array_equal(truth.labels, labels.of(patch))
        np.testing.assert_array_equal(truth.surroundings, labels.of(patch, VIEWS[1].fov))
    batch = collate([*samples, pasted], VIEWS)
    np.testing.assert_allclose(batch.targets["share"].numpy(), np.full((3, 1), (22 / 32) ** 2))
    assert set(batch.targets) == {"share", LABELS}
    assert [part.targets["share"].shape for part in batch.split(2)] == [(2, 1), (1, 1)]


def test_turned_patches_show_tissue_and_labels_up_to_their_corners() -> None:
    y, x = np.mgrid[:128, :128].astype(np.uint8)
    shapes = ((box(0, 0, 128, 128), 0),)
    wide = LabelledSlide(
        key="1",
        slide=Slide(ArraySource([np.stack([x, y, 0 * x], axis=-1)])),
        calibration=PixelCalibration.square(0.5),
        shapes=shapes,
    )
    recipe = replace(NO_CHANGE, rotation_p=1, scale_jitter=0.1)
    maker = SampleMaker(PatchReader([wide], with_rims(VIEWS, recipe)), VIEWS, recipe, 0, Encoding(classes=1))
    labels, patch = Labels([wide], VIEWS[0].fov, 1), patch_at(64, 64)

    for turn in range(20):
        sample = maker.augmented(Sample(0), [patch], labels, (1, turn))

        assert (sample.labels == 0).all()
        across = sample.views[0].astype(int)
        # Opposite corners lie opposite each other about the center; a mirrored corner would not.
        np.testing.assert_allclose(across[0, 0] + across[-1, -1], across[0, -1] + across[-1, 0], atol=4)
        assert np.abs(across[0, 0, :2] - across[-1, -1, :2]).max() > 10
    plain = maker.plain(patch, labels)
    np.testing.assert_array_equal(
        plain.views[0], wide.slide.read(Region(x_px=56, y_px=56, width_px=16, height_px=16), 16, 16)
    )


def test_single_nuclei_move_with_their_labels() -> None:
    squares = [box(20, 20, 40, 40), box(36, 30, 60, 50)]
    shapes = ((box(0, 0, 96, 96), 1), *((square, 0) for square in squares))
    slide = LabelledSlide(
        key="1",
        slide=Slide(ArraySource([np.zeros((96, 96, 3), np.uint8)])),
        calibration=PixelCalibration.square(0.5),
        shapes=shapes,
        nuclei=tuple(reversed(squares)),
    )
    seen: list[Truth] = []

    def encode(truth: Truth) -> dict[str, npt.NDArray[np.float32]]:
        seen.append(truth)
        return {}

    recipe = replace(NO_CHANGE, rotation_p=1, scale_jitter=0.1, flip_p=0.5)
    encoding = Encoding(classes=2, asks_for=frozenset({"instances"}), encode=encode)
    maker = SampleMaker(PatchReader([slide], with_rims(VIEWS, recipe)), VIEWS, recipe, 0, encoding)
    labels, patch = Labels([slide], VIEWS[0].fov, 2), patch_at(40, 38)

    maker.plain(patch, labels)
    for turn in range(20):
        maker.augmented(Sample(0), [patch], labels, (1, turn))
    pasted = maker.augmented(Sample(0, ground=0), [patch], labels, (2, 0))

    for truth in seen:
        assert truth.instances is not None
        np.testing.assert_array_equal(truth.instances > 0, truth.labels == 0)
    # Where two overlap, the later annotation lies on top: its number is the first.
    plain = seen[0].instances
    assert plain is not None
    assert set(np.unique(plain)) == {0, 1, 2}
    assert plain[35 - 30, 38 - 32] == 1
    assert pasted.labels.shape == (16, 16)
