"""The greedy worst case of mIoU and its bound, against all assignments and a literal loop."""

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustseg import metrics
from robustseg.errors import RobustsegError
from robustseg.greedy_miou import greedy_miou, miou_lower_bound


def made_up(seed, attacks, images, classes, unlabelled_classes=0, pixels=12):
    """Counts (A, N, K) of random confusion matrices, the same labels under every attack."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, pixels, size=(images, classes))
    labels[:, classes - unlabelled_classes :] = 0
    labels[0, 0] += 1
    confusion = np.zeros((attacks, images, classes, classes), dtype=np.int64)
    for attack, image, label in np.ndindex(attacks, images, classes):
        guesses = generator.dirichlet(np.full(classes, 0.3))
        confusion[attack, image, label] = generator.multinomial(labels[image, label], guesses)
    intersection = np.diagonal(confusion, axis1=2, axis2=3).copy()
    return intersection, confusion.sum(axis=2) + confusion.sum(axis=3) - intersection


def of(choice, intersection, union):
    images = np.arange(len(choice))
    return metrics.miou(intersection[choice, images], union[choice, images])


def all_mious(intersection, union):
    attacks, images, _ = union.shape
    return [of(list(c), intersection, union) for c in product(range(attacks), repeat=images)]


def slow_miou(choice, intersection, union):
    shares = []
    for k in range(len(union[0][0])):
        part = sum(intersection[attack][image][k] for image, attack in enumerate(choice))
        whole = sum(union[attack][image][k] for image, attack in enumerate(choice))
        if whole:
            shares.append(part / whole)
    return sum(shares) / len(shares)


def slow_greedy(intersection, union, seed):
    """The search as its description reads; all sums anew for each candidate."""
    intersection, union = intersection.tolist(), union.tolist()
    attacks, images = range(len(union)), len(union[0])
    orders = np.random.default_rng(seed)
    start = min(attacks, key=lambda attack: slow_miou([attack] * images, intersection, union))
    choice = [start] * images
    while True:
        before = list(choice)
        for image in orders.permutation(images):
            now = slow_miou(choice, intersection, union)
            swapped = [[*choice[:image], attack, *choice[image + 1 :]] for attack in attacks]
            lowest = min(swapped, key=lambda one: slow_miou(one, intersection, union))
            if slow_miou(lowest, intersection, union) < now - 1e-12:
                choice = lowest
        if choice == before:
            return choice


SMALL = (st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=150, deadline=None)
@given(*SMALL, st.integers(0, 2))
def test_bound_and_greedy_enclose_the_worst_of_all_assignments(seed, a, n, k, unlabelled):
    counts = made_up(seed, a, n, k, min(unlabelled, k - 1))
    found, mious = greedy_miou(*counts), all_mious(*counts)
    assert found.lower_bound <= found.miou
    assert miou_lower_bound(*counts) <= min(mious) + 1e-12
    assert min(mious) <= found.miou + 1e-12
    assert found.miou == of(found.choice, *counts)


def test_bound_and_greedy_are_near_the_worst_case_and_often_there():
    """Neither is met by a value that is merely low or high enough."""
    found = [made_up(seed, 3, 6, 4) for seed in range(40)]
    worst = np.array([min(all_mious(*counts)) for counts in found])
    greedy = [greedy_miou(*counts) for counts in found]
    above = np.array([one.miou for one in greedy]) - worst
    below = worst - np.array([one.lower_bound for one in greedy])
    assert (above < 1e-12).mean() > 0.7
    assert above.mean() < 0.003
    assert below.mean() < 0.02


@pytest.mark.parametrize("seed", range(20))
def test_bound_is_that_of_its_proof_and_tighter_than_each_class_by_itself(seed):
    intersection, union = made_up(seed, 3, 5, 4)
    choices, images, classes = list(product(range(3), repeat=5)), range(5), range(4)
    occurring = [k for k in classes if union[..., k].any()]

    def summed(counts, choice, k):
        return sum(counts[attack, image, k] for image, attack in enumerate(choice))

    least, largest = {}, {}
    for k in occurring:
        wholes = [summed(union, choice, k) for choice in choices]
        parts = [summed(intersection, choice, k) for choice in choices]
        least[k] = min(p / w if w else 0 for p, w in zip(parts, wholes, strict=True))
        largest[k] = max(wholes)
    bound = sum(least.values())
    for image in images:
        bound += min(
            sum(
                (intersection[attack, image, k] - least[k] * union[attack, image, k]) / largest[k]
                for k in occurring
            )
            for attack in range(3)
        )
    found = miou_lower_bound(intersection, union)
    assert found == pytest.approx(bound / len(occurring), abs=1e-12)
    assert found > np.mean(list(least.values())) + 1e-3


@settings(max_examples=60, deadline=None)
@given(*SMALL)
def test_search_is_that_of_a_literal_loop(seed, a, n, k):
    counts = made_up(seed, a, n + 4, k, pixels=10**4)  # hardly a tie that rounding would decide
    choice = greedy_miou(*counts, seed=seed).choice
    assert choice.tolist() == slow_greedy(*counts, seed)


@pytest.mark.parametrize("seed", [31, 83, 155, 197])
def test_search_starts_from_the_strongest_attack(seed):
    """Of these, a search that starts from the first attack ends elsewhere."""
    counts = made_up(seed, 4, 12, 4)
    found = greedy_miou(*counts)
    assert found.miou == pytest.approx(of(slow_greedy(*counts, 0), *counts), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(*SMALL)
def test_no_image_alone_can_lower_what_was_found(seed, a, n, k):
    intersection, union = made_up(seed, a, n + 6, k)
    found = greedy_miou(intersection, union)
    assert found.miou <= min(metrics.miou(intersection[i], union[i]) for i in range(a)) + 1e-12
    for image, attack in np.ndindex(n + 6, a):
        swapped = found.choice.copy()
        swapped[image] = attack
        assert of(swapped, intersection, union) >= found.miou - 1e-12


def test_one_attack_has_nothing_to_choose_and_a_bound_without_a_gap():
    counts = made_up(0, 1, 7, 4)
    found = greedy_miou(*counts)
    assert found.choice.tolist() == [0] * 7
    assert found.lower_bound == pytest.approx(found.miou, abs=1e-12)


def test_a_class_that_only_some_attack_predicts_lowers_the_mean_and_the_bound():
    """Both attacks leave class 0 as it is; the second predicts the unlabelled class 1 besides."""
    intersection = np.array([[[4, 0]], [[4, 0]]])
    union = np.array([[[8, 0]], [[8, 4]]])
    found = greedy_miou(intersection, union)
    assert found.choice.tolist() == [1]
    assert found.miou == 0.25
    assert miou_lower_bound(intersection, union) == 0.25


def test_seed_decides_the_order_and_with_it_the_result():
    counts = made_up(31, 4, 12, 4)
    runs = [greedy_miou(*counts, seed=seed).choice.tolist() for seed in range(20)]
    assert runs == [greedy_miou(*counts, seed=seed).choice.tolist() for seed in range(20)]
    assert len(set(map(tuple, runs))) > 1
    assert greedy_miou(*counts).choice.tolist() == runs[0]


def test_the_largest_evaluations_end():
    """1449 images, 151 classes and nine attacks, in about 2 s."""
    generator = np.random.default_rng(0)
    labelled = generator.integers(0, 2000, size=(1449, 151)) * (generator.random((1449, 151)) < 0.1)
    intersection = (labelled * generator.random((9, 1449, 151))).astype(np.int32)
    union = labelled + generator.integers(0, 300, size=(9, 1449, 151))
    found = greedy_miou(intersection, union)
    assert found.lower_bound <= found.miou


@pytest.mark.parametrize("kind", [np.int32, np.uint16])
def test_counts_of_small_types_do_not_overflow(kind):
    counts = [1000 * one for one in made_up(2, 4, 12, 4)]
    small = [one.astype(kind) for one in counts]
    assert greedy_miou(*small)[1:] == greedy_miou(*counts)[1:]


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        (((2, 3, 4), (2, 2, 4)), "must both be .attacks, images, classes."),
        (((3, 4), (3, 4)), "must both be .attacks, images, classes."),
        (((0, 3, 4), (0, 3, 4)), "over no pixel"),
        (((2, 3, 0), (2, 3, 0)), "over no pixel"),
        (((2, 3, 4), (2, 3, 4)), "over no pixel"),
    ],
)
def test_counts_that_cannot_be_searched_are_refused(shapes, says):
    counts = [np.zeros(shape, dtype=np.int64) for shape in shapes]
    for asked in (greedy_miou, miou_lower_bound):
        with pytest.raises(RobustsegError, match=says):
            asked(*counts)


def test_the_order_of_attacks_changes_no_more_than_ties():
    intersection, union = made_up(8, 4, 9, 5)
    order = random.Random(0).sample(range(4), 4)
    one = greedy_miou(intersection, union)
    other = greedy_miou(intersection[order], union[order])
    assert other.miou == pytest.approx(one.miou)
    assert other.lower_bound == pytest.approx(one.lower_bound)
