import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustseg import metrics
from robustseg.errors import RobustsegError

IGNORE = -1


def slow_counts(prediction, label, num_classes):
    """One pixel after another, as the definitions read."""
    counts = []
    for guess_map, truth_map in zip(prediction.tolist(), label.tolist(), strict=True):
        pixels = correct = 0
        labelled, intersection, union = ([0] * num_classes for _ in range(3))
        for guesses, truths in zip(guess_map, truth_map, strict=True):
            for guess, truth in zip(guesses, truths, strict=True):
                if truth == IGNORE:
                    continue
                pixels += 1
                correct += guess == truth
                labelled[truth] += 1
                for k in {guess, truth}:
                    union[k] += 1
                intersection[guess] += guess == truth
        counts.append((pixels, correct, labelled, intersection, union))
    return [list(column) for column in zip(*counts, strict=True)]


def random_maps(seed, images, classes, size=6, ignored=0.2):
    generator = torch.Generator().manual_seed(seed)
    shape = (images, size, size + 1)
    label = torch.randint(0, classes, shape, generator=generator)
    prediction = torch.where(
        torch.rand(shape, generator=generator) < 0.5,
        label,
        torch.randint(0, classes, shape, generator=generator),
    )
    label[torch.rand(shape, generator=generator) < ignored] = IGNORE
    return prediction, label


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 6))
def test_counts_are_those_of_a_slow_loop(seed, images, classes):
    prediction, label = random_maps(seed, images, classes)
    counts = metrics.count_pixels(prediction, label, classes)
    for fast, slow in zip(counts, slow_counts(prediction, label, classes), strict=True):
        np.testing.assert_array_equal(fast, slow)


def test_what_is_predicted_on_ignored_pixels_does_not_matter():
    prediction, label = random_maps(3, images=3, classes=4)
    elsewhere = torch.where(label == IGNORE, (prediction + 1) % 4, prediction)
    for one, other in zip(
        metrics.count_pixels(prediction, label, 4),
        metrics.count_pixels(elsewhere, label, 4),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_an_image_does_not_depend_on_its_batch():
    prediction, label = random_maps(4, images=3, classes=5)
    batch = metrics.count_pixels(prediction, label, 5)
    alone = metrics.count_pixels(prediction[1:2], label[1:2], 5)
    for together, single in zip(batch, alone, strict=True):
        np.testing.assert_array_equal(together[1:2], single)


@pytest.mark.parametrize(
    ("prediction", "label", "says"),
    [
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 7), "a label is outside 0..2"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), -2), "a label is outside 0..2"),
        (torch.full((1, 2, 2), 3), torch.zeros(1, 2, 2).long(), "a prediction is outside 0..2"),
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 3).long(), "upsample"),
        (torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), r"\(images, height, width\)"),
    ],
)
def test_classes_out_of_range_and_shapes_that_differ_are_refused(prediction, label, says):
    with pytest.raises(RobustsegError, match=says):
        metrics.count_pixels(prediction, label, 3)


def test_acc_is_the_mean_over_images_and_not_over_pixels():
    pixels, correct = np.array([10, 1000]), np.array([10, 0])
    assert metrics.mean_accuracy(pixels, correct) == 0.5


def test_an_image_without_labels_is_left_out_of_acc():
    pixels, correct = np.array([10, 0, 10]), np.array([5, 0, 10])
    assert np.isnan(metrics.image_accuracy(pixels, correct)[1])
    assert metrics.mean_accuracy(pixels, correct) == 0.75


def test_miou_sums_over_images_first_and_skips_classes_that_never_occur():
    intersection = np.array([[3, 0, 0], [1, 2, 0]])
    union = np.array([[4, 1, 0], [4, 9, 0]])
    assert metrics.miou(intersection, union) == pytest.approx((4 / 8 + 2 / 10) / 2)


def test_image_miou_is_of_the_classes_in_the_image_and_nan_without_any():
    intersection = np.array([[3, 0, 0], [1, 2, 0], [0, 0, 0]])
    union = np.array([[4, 1, 0], [4, 8, 0], [0, 0, 0]])
    found = metrics.image_miou(intersection, union)
    np.testing.assert_allclose(found, [(3 / 4 + 0) / 2, (1 / 4 + 2 / 8) / 2, np.nan])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 6))
def test_image_miou_is_the_miou_of_the_image_alone(seed, images, classes):
    counts = metrics.count_pixels(*random_maps(seed, images, classes, size=3), classes)
    for image, found in enumerate(metrics.image_miou(counts.intersection, counts.union)):
        alone = slice(image, image + 1)
        assert found == pytest.approx(metrics.miou(counts.intersection[alone], counts.union[alone]))


def test_objects_are_sized_by_their_share_of_the_labelled_pixels():
    """Of 200 and of 1000 labelled pixels; each size from its lower end on."""
    labelled = np.array([[1, 2, 9, 10, 39, 139], [0, 0, 9, 191, 200, 600], [0, 0, 0, 0, 0, 0]])
    below_1, to_5, to_20, above = [1, 9], [2, 9], [10, 39, 191], [139, 200, 600]
    pixels = metrics.sums_by_size(labelled, labelled)
    assert pixels.tolist() == [[1, 11, 49, 139], [9, 0, 191, 800], [0, 0, 0, 0]]
    objects = metrics.sums_by_size(labelled > 0, labelled).sum(axis=0)
    assert objects.tolist() == [len(size) for size in (below_1, to_5, to_20, above)]


def test_accuracy_by_size_is_of_the_pixels_of_all_objects_of_the_size():
    labelled, right = np.array([[10, 90], [15, 85]]), np.array([[10, 45], [5, 85]])
    part, whole = (metrics.sums_by_size(counts, labelled) for counts in (right, labelled))
    shares = metrics.class_shares(part, whole)
    np.testing.assert_allclose(shares, [np.nan, np.nan, 15 / 25, 130 / 175])


def test_miou_does_not_overflow_the_counts_type():
    many = np.full((3, 1), 2**31 - 1, dtype=np.int32)
    assert metrics.miou(many, many) == 1.0


def test_worst_case_takes_the_lowest_and_the_first_of_equals():
    accuracies = np.array([[0.5, 0.2, np.nan], [0.5, 0.1, np.nan], [0.4, 0.1, np.nan]])
    assert metrics.worst_case(accuracies).tolist() == [2, 1, 0]
