import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustseg.errors import RobustsegError
from robustseg.evidence import reading
from robustseg.evidence.enumerator import (
    EvidenceJob,
    check_files,
    jobs_of_file,
    radii_of_path,
    radii_to_path,
)
from robustseg.evidence.queries import (
    Evidence,
    Outcomes,
    Score,
    interval,
    outcomes,
    score,
    worst_case,
    worst_case_by_miou,
    worst_image_miou,
)
from robustseg.evidence.reading import read_evidence
from robustseg.evidence.runs import planned_runs
from robustseg.evidence.schema import COUNTED
from robustseg.evidence.writing import write_evidence
from tests.synthetic import MODELS, READS, SUITES, synthetic_rows, write_jobs


def made_up(seed, images=5, classes=3, unlabelled=0):
    """Outcomes of random confusion matrices, the same images and labels for every seed."""
    generator = np.random.default_rng(seed)
    labels = np.random.default_rng(0).integers(1, 30, size=(images, classes))
    labels[:unlabelled] = 0
    confusion = np.stack(
        [
            [generator.multinomial(count, generator.dirichlet(np.ones(classes))) for count in image]
            for image in labels
        ]
    )
    intersection = np.diagonal(confusion, axis1=1, axis2=2)
    return Outcomes(
        image_ids=np.array([f"i{index}" for index in range(images)], dtype=object),
        pixels=labels.sum(axis=1),
        pixels_correct=intersection.sum(axis=1),
        labelled=labels,
        intersection=intersection,
        union=confusion.sum(axis=1) + confusion.sum(axis=2) - intersection,
    )


def slow_score(images):
    """ACC and mIoU of a list of (pixels, correct, intersection, union), one number at a time."""
    accuracies = [correct / pixels for pixels, correct, _, _ in images if pixels]
    shares = []
    for k in range(len(images[0][2])):
        intersection = sum(int(image[2][k]) for image in images)
        union = sum(int(image[3][k]) for image in images)
        if union:
            shares.append(intersection / union)
    return sum(accuracies) / len(accuracies), sum(shares) / len(shares)


def as_images(attacked):
    return list(
        zip(
            attacked.pixels,
            attacked.pixels_correct,
            attacked.intersection,
            attacked.union,
            strict=True,
        )
    )


def slow_worst(attacks):
    """The image-wise worst case, one image after another."""
    worst = []
    for versions in zip(*map(as_images, attacks), strict=True):
        best = versions[0]
        for version in versions[1:]:
            if version[1] * best[0] < best[1] * version[0]:
                best = version
        worst.append(best)
    return worst


seeds = st.lists(st.integers(0, 2**20), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(0, 2))
def test_worst_case_and_scores_are_those_of_a_slow_loop(seeds, unlabelled):
    attacks = [made_up(seed, unlabelled=unlabelled) for seed in seeds]
    assert score(attacks[0]) == pytest.approx(slow_score(as_images(attacks[0])))
    assert score(worst_case(attacks)) == pytest.approx(slow_score(slow_worst(attacks)))


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_worst_case_is_above_no_member_and_no_larger_set_is_above_it(seeds):
    attacks = [made_up(seed) for seed in seeds]
    worst = worst_case(attacks)
    for attack in attacks:
        assert (worst.accuracy <= attack.accuracy).all()
        assert score(worst).acc <= score(attack).acc + 1e-12
    assert score(worst).acc <= score(worst_case(attacks[:-1] or attacks)).acc + 1e-12


@settings(max_examples=40, deadline=None)
@given(seeds, st.randoms(use_true_random=False))
def test_acc_of_the_worst_case_ignores_the_order_of_attacks(seeds, randomness):
    attacks = [made_up(seed) for seed in seeds]
    shuffled = randomness.sample(attacks, len(attacks))
    assert score(worst_case(attacks)).acc == score(worst_case(shuffled)).acc


def test_ties_go_to_the_first_attack():
    first, second = made_up(1), made_up(2)
    second.pixels_correct[:] = first.pixels_correct
    np.testing.assert_array_equal(worst_case([first, second]).union, first.union)
    np.testing.assert_array_equal(worst_case([second, first]).union, second.union)


def test_worst_case_leaves_its_members_alone():
    attacks = [made_up(seed) for seed in range(3)]
    before = [attack.intersection.copy() for attack in attacks]
    worst_case(attacks)
    for attack, kept in zip(attacks, before, strict=True):
        np.testing.assert_array_equal(attack.intersection, kept)


@pytest.mark.parametrize("worst", [worst_case, worst_case_by_miou, worst_image_miou])
def test_attacks_on_other_images_or_labels_are_not_compared(worst):
    one, other = made_up(1), made_up(2)
    other.image_ids[2] = "elsewhere"
    with pytest.raises(RobustsegError, match="for example elsewhere"):
        worst([one, other])
    with pytest.raises(RobustsegError, match="attacks on different images cannot be compared"):
        worst([one, made_up(2, images=4)])
    other = made_up(2)
    other.pixels[3] += 1
    with pytest.raises(RobustsegError, match="image i3 has different labels"):
        worst([one, other])
    other = made_up(2)
    other.labelled[4] = other.labelled[4, ::-1]  # as many pixels, of other classes
    with pytest.raises(RobustsegError, match="image i4 has different labels"):
        worst([one, other])
    with pytest.raises(RobustsegError, match="no attack"):
        worst([])


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 2))
def test_worst_miou_is_of_one_outcome_an_image_and_near_the_bound(seeds, unlabelled):
    attacks = [made_up(seed, unlabelled=unlabelled) for seed in seeds]
    worst = worst_case_by_miou(attacks)
    for image in zip(*map(as_images, [worst.attacked, *attacks]), strict=True):
        shown, *candidates = [[np.asarray(part).tolist() for part in one] for one in image]
        assert shown in candidates
    assert slow_score(as_images(worst.attacked))[1] == pytest.approx(worst.miou)
    by_image = zip(*map(as_images, attacks), strict=True)
    mious = [slow_score(list(versions))[1] for versions in product(*by_image)]
    assert worst.lower_bound - 1e-12 <= min(mious) <= worst.miou + 1e-12


def test_worst_miou_is_below_that_of_the_worst_case_by_acc():
    """One image: the attack that leaves more pixels right leaves less of the IoU of two classes."""
    shared = {"image_ids": np.array(["i"], dtype=object), "pixels": np.array([100])}
    labelled = np.array([[90, 10]])
    by_acc = Outcomes(
        **shared,
        pixels_correct=np.array([80]),
        labelled=labelled,
        intersection=np.array([[70, 10]]),
        union=np.array([[90, 30]]),
    )
    by_miou = Outcomes(
        **shared,
        pixels_correct=np.array([90]),
        labelled=labelled,
        intersection=np.array([[90, 0]]),
        union=np.array([[100, 10]]),
    )
    attacks = [by_acc, by_miou]
    assert score(worst_case(attacks)).miou == pytest.approx((70 / 90 + 10 / 30) / 2)
    assert worst_case_by_miou(attacks).miou == pytest.approx((90 / 100 + 0) / 2)
    assert worst_image_miou(attacks) == pytest.approx([(90 / 100 + 0) / 2])


def test_worst_image_miou_is_the_lowest_of_each_image():
    attacks = [made_up(seed, unlabelled=1) for seed in range(4)]
    lowest = worst_image_miou(attacks)
    assert np.isnan(lowest[0])
    for image, found in list(enumerate(lowest))[1:]:
        assert found == min(slow_score([as_images(one)[image]])[1] for one in attacks)


def test_worst_miou_of_evidence_without_counts_is_refused(tmp_path):
    path = tmp_path / "one.parquet"
    write_evidence(path, synthetic_rows("fake_pir_5", "clean", 0), {})
    without = outcomes(read_evidence([path], counts=False))
    with pytest.raises(RobustsegError, match="give counts by class"):
        worst_case_by_miou([without])


@pytest.mark.parametrize("metric", ["acc", "miou"])
def test_interval_is_about_as_wide_as_a_slow_bootstrap_of_many_images(metric):
    attacked = made_up(5, images=100)
    images = as_images(attacked)
    randomness = random.Random(0)
    scores = sorted(
        getattr(Score(*slow_score(randomness.choices(images, k=100))), metric) for _ in range(2000)
    )
    low, high = interval(attacked, metric)
    assert low == pytest.approx(scores[50], abs=0.01)
    assert high == pytest.approx(scores[1950], abs=0.01)


@pytest.mark.parametrize("metric", ["acc", "miou"])
def test_interval_skips_unlabelled_images(metric):
    attacked = made_up(7, images=12, unlabelled=2)
    labelled = attacked.pixels > 0
    rest = Outcomes(*(getattr(attacked, name)[labelled] for name in Outcomes.__annotations__))
    assert interval(rest, metric) == interval(attacked, metric)


def test_rows_of_two_attacks_are_not_scored_as_one(tmp_path):
    write_evidence(tmp_path / "e", synthetic_rows("fake_pir_5", "sea", 4), {})
    with pytest.raises(RobustsegError, match="choose one attack"):
        outcomes(read_evidence([tmp_path / "e"]))


def sharded(folder, shards):
    """Table 9's evidence, the images of every job dealt out to shards."""
    folder.mkdir()
    paths = []
    jobs = [("clean", 0.0), ("sea", 4.0), ("sea", 8.0)]
    for suite, eps in jobs:
        rows = synthetic_rows("fake_pir_5", suite, eps, images=9)
        random.Random(shards).shuffle(rows)
        for shard in range(shards):
            paths.append(folder / f"{suite}-{eps}-{shard}")
            write_evidence(paths[-1], rows[shard::shards], {})
    random.Random(shards).shuffle(paths)
    return Evidence(read_evidence(paths), READS["table9"], "table9", MODELS)


def test_scores_and_intervals_ignore_order_and_sharding(tmp_path):
    whole, parts = (sharded(tmp_path / str(shards), shards) for shards in (1, 4))
    assert whole.all_runs == parts.all_runs
    assert len(whole.all_runs) == 9
    for run in whole.all_runs:
        assert score(whole.outcomes(run)) == score(parts.outcomes(run))
        for metric in ("acc", "miou"):
            ends = interval(whole.outcomes(run), metric)
            assert ends == interval(parts.outcomes(run), metric)


def table9(paths):
    return Evidence(read_evidence(paths), READS["table9"], "table9", MODELS, paths)


def without(paths, *words):
    return [path for path in paths if not any(word in str(path) for word in words)]


@pytest.mark.parametrize(("room", "opened"), [(10**6, 1), (0, 2)])
def test_counts_are_read_with_the_rows_as_long_as_there_is_room(
    tmp_path, monkeypatch, room, opened
):
    sharded(tmp_path / "e", 3)
    paths = sorted((tmp_path / "e").iterdir())
    expected = read_evidence(paths)
    files = []
    open_file = reading._open
    monkeypatch.setattr(reading, "_open", lambda path: files.append(path) or open_file(path))
    reader = reading.CountsReader(room)
    rows = read_evidence(paths, reader)
    for name, counts in zip(COUNTED, reader.of(rows), strict=True):
        np.testing.assert_array_equal(counts, np.stack(expected[name]))
    assert sorted(files) == sorted(opened * [*paths])


def test_missing_jobs_are_named(tmp_path):
    paths = write_jobs(tmp_path, READS["table9"])
    says = (
        r"table9 misses evidence of 1 job: suite sea, model fake_pir_5 \(training seed 0\) "
        "at 8/255, seed 0; run them"
    )
    with pytest.raises(RobustsegError, match=says):
        table9(without(paths, "eps8"))
    with pytest.raises(RobustsegError, match=r"2 jobs: .* at 4/255 and 8/255, seed 0; run"):
        table9(without(paths, "eps4", "eps8"))
    with pytest.raises(RobustsegError, match=r"1 job: suite clean, model fake_pir_5 .*0\); run"):
        table9(without(paths, "clean"))


def test_all_missing_jobs_are_named(tmp_path):
    reads = [{**READS["table9"][0], "eps_255": list(range(1, 9)), "seeds": list(range(5))}]
    paths = write_jobs(tmp_path, reads)
    with pytest.raises(RobustsegError, match="misses evidence of 39 jobs") as raised:
        Evidence(read_evidence(paths[:2]), reads, "table9", MODELS)
    for eps_255 in range(2, 9):
        assert f"{eps_255}/255" in str(raised.value)
    for seed in range(5):
        assert f"seed {seed}" in str(raised.value)


def test_a_training_seed_without_a_job_is_named(tmp_path):
    paths = write_jobs(tmp_path, READS["table9"], training_seeds=(0, 1))
    kept = [path for path in paths if not ("seed1" in str(path.parent) and "eps8" in str(path))]
    with pytest.raises(RobustsegError, match=r"fake_pir_5 \(training seed 1\) at 8/255"):
        table9(kept)


def test_shards_that_lack_images_are_named(tmp_path):
    paths = write_jobs(tmp_path, READS["table9"])
    rows = synthetic_rows("fake_pir_5", "sea", 8)
    write_evidence(paths[-1], [row for row in rows if row["image_id"] < "fake_0004"], {})
    says = r"1 job: suite sea, .* at 8/255, seed 0 \(4 of 6 images are there, from shard 0\); run"
    with pytest.raises(RobustsegError, match=says):
        table9(paths)


def test_an_attack_on_other_images_is_refused(tmp_path):
    paths = write_jobs(tmp_path, READS["table9"])
    write_evidence(paths[-1], synthetic_rows("fake_pir_5", "sea", 8, images=7), {})
    with pytest.raises(RobustsegError, match=r"at 8/255 has 7 images that are not the 6"):
        table9(paths)


def test_an_attack_on_other_labels_is_refused(tmp_path):
    """Of one attack alone no worst case is taken, which would compare labels too."""
    paths = write_jobs(tmp_path, READS["table9"])
    write_evidence(paths[-1], synthetic_rows("fake_pir_5", "sea", 8, pixels=300), {})
    with pytest.raises(RobustsegError, match=r"at 8/255 has other labels of image fake_0000 than"):
        table9(paths)


def test_images_without_a_labelled_pixel_are_refused(tmp_path):
    paths = write_jobs(tmp_path, READS["table9"], pixels=0)
    with pytest.raises(RobustsegError, match="no image of fake_pir_5 has a labelled pixel"):
        table9(paths)


def test_files_that_are_gone_are_named_as_jobs_with_their_shards(tmp_path):
    run = tmp_path / "attacks"
    gone = [
        run / f"sea/a_b/seed0/eps{eps}/seed0-shard{n}.parquet" for eps in (4, 0.5) for n in (0, 3)
    ]
    gone += [run / "alma/a_b/seed0/eps255/seed2-shard1.parquet"]
    here = write_jobs(tmp_path, READS["table9"])
    with pytest.raises(RobustsegError) as raised:
        check_files("table9", [*gone, *here, tmp_path / "odd.parquet"])
    assert str(raised.value) == (
        "table9 misses evidence of 6 jobs: suite alma, model a_b (training seed 0) at 255/255, "
        "seed 2, shard 1; suite sea, model a_b (training seed 0) at 0.5/255 and 4/255, seed 0, "
        f"shards 0 and 3; {tmp_path}/odd.parquet; run them, then make it again"
    )
    check_files("table9", here)


def test_jobs_and_paths_are_those_of_the_workflow(tmp_path):
    """What a path says and what a job is called are two ways of one rule."""
    for path in write_jobs(tmp_path / "attacks", READS["table10"]):
        (job,) = jobs_of_file(path)
        assert str(path).endswith(job.path)
        assert str(path).startswith(str(tmp_path / job._replace(shard=None).path))
    assert jobs_of_file("somewhere/else.parquet") == []


def test_a_file_of_several_radii_holds_a_job_each(tmp_path):
    first, second = jobs_of_file(tmp_path / "sea/m/seed1/eps0.25,12/seed2-shard3.parquet")
    assert first == EvidenceJob("sea", "m", 1, 0.25, 2, 3)
    assert second == first._replace(eps_255=12.0)
    assert radii_of_path(radii_to_path([12.0, 0.25])) == [0.25, 12.0]
    with pytest.raises(RobustsegError, match=r"1 job: .* at 0.25/255 and 12/255, seed 2, shard 3"):
        check_files("table9", [tmp_path / "sea/m/seed1/eps0.25,12/seed2-shard3.parquet"])


def test_runs_are_found_by_what_they_are_and_never_guessed(tmp_path):
    paths = write_jobs(tmp_path, READS["table9"])
    runs = Evidence(read_evidence(paths), READS["table9"], "table9", MODELS).runs(0)
    assert len(runs.find(loss=("js", "mask_ce"), eps_255=8.0)) == 2
    assert runs.one(loss="js", eps_255=8.0).schedule == "reduced"
    with pytest.raises(RobustsegError, match="finds none; check the suites"):
        runs.one(loss="ce", eps_255=8.0)
    with pytest.raises(RobustsegError, match="finds 2 "):
        runs.one(loss="js")


def test_only_what_is_read_is_seen(tmp_path):
    paths = write_jobs(tmp_path, [*READS["table9"], *READS["table7"]])
    evidence = Evidence(read_evidence(paths), READS["table9"], "table9", MODELS)
    assert {run.suite for run in evidence.all_runs} == {"sea", "clean"}


@pytest.mark.parametrize("name", READS)
def test_what_is_planned_is_what_the_evidence_holds(tmp_path, name):
    """Tables are asked of the first when a configuration is read, of the second when made."""
    suites = {
        suite: {
            "kind": "white_box",
            "optimizer": "apgd",
            "schedules": ["constant"],
            "step_size": dict.fromkeys([2, 4, 8, 12], 1e-3),
        }
        | settings
        for suite, settings in SUITES.items()
    }
    reads = [read | {"seeds": read.get("seeds", [0])} for read in READS[name]]
    datasets = {model: settings["dataset"] for model, settings in MODELS.items()}
    paths = write_jobs(tmp_path, reads)
    found = Evidence(read_evidence(paths), reads, name, MODELS).all_runs
    assert sorted(planned_runs(reads, suites, datasets, 0)) == sorted(found)
