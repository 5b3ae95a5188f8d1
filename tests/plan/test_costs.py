"""Predicted passes against hand counts, and prices against arithmetic."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
import yaml
from make_plan import make_plan
from PIL import Image

from robustseg.config import load_config
from robustseg.config.data import Downloaded
from robustseg.config.known_data import known_images
from robustseg.config.schema import Config
from robustseg.errors import RobustsegError
from robustseg.evaluation.suite_kinds import AnySuite
from robustseg.evidence.enumerator import radii_of_path
from robustseg.plan import costs
from robustseg.plan.costs import PlannedJob, images_in, jobs_of, network_of
from robustseg.plan.networks import Network, Work
from robustseg.plan.passes import _built, _seconds
from robustseg.plan.prices import passes, price, rows_of, to_markdown
from robustseg.plan.throughput import Throughput, read_throughput, write_throughput
from robustseg.progress import Progress

ROOT = Path(__file__).parents[2]
MATCHBOX = ROOT / "tests" / "workflow" / "matchbox.yaml"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(yaml.safe_load(MATCHBOX.read_text()), [MATCHBOX])


def by_rule(jobs: list[PlannedJob], rule: str, **wildcards: str) -> PlannedJob:
    (found,) = [
        job for job in jobs if job.rule == rule and wildcards.items() <= dict(job.wildcards).items()
    ]
    return found


def total(job: PlannedJob) -> tuple[int, int, int]:
    """Forward, attack and update passes of a job."""
    names = ("forward", "attack", "update")
    forward, attack, update = (sum(getattr(work, name) for work in job.work) for name in names)
    return forward, attack, update


def test_trainings_are_counted(config: Config) -> None:
    jobs = jobs_of(config, "table3")
    # 8 training and 2 validation images, 1 epoch, 1 attack step; the backbone: 16 and 4.
    assert total(by_rule(jobs, "train_model", model="pir_at_5")) == (2, 8, 8)
    assert total(by_rule(jobs, "pretrain_backbone", backbone="convnext_robust")) == (4, 16, 16)
    assert total(by_rule(jobs, "pretrain_backbone", backbone="convnext_clean")) == (4, 0, 16)
    half = by_rule(jobs_of(config, "table1"), "train_model", model="half_at_3")
    assert total(half) == (2, 4, 8)


def test_of_an_odd_pass_more_than_half_is_attacked() -> None:
    """Two of three images, as the training loop rounds."""
    changed = yaml.safe_load(MATCHBOX.read_text())
    changed["training"]["upernet"] |= {"batch_size": 3, "images_per_pass": 3}
    jobs = jobs_of(load_config(changed, []), "table1")
    assert total(by_rule(jobs, "train_model", model="half_at_3")) == (2, round(8 * 2 / 3), 8)


def test_radii_together_are_as_many_passes_in_fewer_jobs() -> None:
    demo = ROOT / "config" / "demo.yaml"
    settings = yaml.safe_load(demo.read_text())

    def attacks(radii: str) -> list[PlannedJob]:
        settings["attacks"]["radii"] = radii
        config = load_config(settings, [demo])
        exhibits = [(name, seeds) for seeds in (False, True) for name in config.exhibits(seeds)]
        jobs = dict.fromkeys(job for exhibit in exhibits for job in jobs_of(config, *exhibit))
        return [job for job in jobs if job.rule == "attack_model"]

    apart, together = attacks("apart"), attacks("together")
    assert len(together) < len(apart) / 2
    assert sum(map(passes, together)) == sum(map(passes, apart))
    radii = [radii_of_path(dict(job.wildcards)["eps_255"]) for job in together]
    assert sum(map(len, radii)) == len(apart)


def test_attacks_are_counted(config: Config) -> None:
    # SEA: 4 losses, 4 iterations, 2 images; a look after each of 3 radii and one pass that counts.
    assert total(by_rule(jobs_of(config, "table9"), "attack_model")) == (4 * 4 * 2, 4 * 4 * 2, 0)
    # Two sources, 3 iterations each: 3 looks at the source and a pass of the target.
    transfer = by_rule(jobs_of(config, "table11"), "attack_model", suite="transfer")
    assert total(transfer) == (2 * 2 * 4, 2 * 2 * 3, 0)
    assert total(by_rule(jobs_of(config, "figure6"), "attack_model", suite="alma")) == (4, 4, 0)
    # Two images, 4 queries and a pass that counts.
    black_box = jobs_of(config, "black_box")
    assert total(by_rule(black_box, "attack_model", suite="blackbox")) == (2 * 5, 0, 0)
    objects = by_rule(jobs_of(config, "appendix_c3"), "attack_model", model="clean")
    assert total(objects) == (2, 0, 0)
    assert total(by_rule(jobs_of(config, "figure8"), "attack_gallery")) == (4, 3, 0)
    # 3 iterations from another seed, 6, 5 x 3 of other scales, 10 without a radius, 3 of a source;
    # 10 draws twice, 3 looks at the source and a pass of the target.
    doubt = by_rule(jobs_of(config, "second_opinions"), "doubt_model")
    assert total(doubt) == (2 * (20 + 3 + 1), 2 * (3 + 6 + 15 + 10 + 3), 0)


def test_models_that_attacks_are_carried_over_from_are_trained_first(config: Config) -> None:
    jobs = jobs_of(config, "table11")
    trained = {dict(job.wildcards)["model"] for job in jobs if job.rule == "train_model"}
    assert trained == {"pir_at_5", "clean", "at_5"}


def test_jobs_of_a_target_are_there_once(config: Config) -> None:
    for name in [*config.tables, *config.figures, *config.pictures]:
        jobs = jobs_of(config, name)
        assert len(jobs) == len(set(jobs))
    seeds = {
        dict(job.wildcards)["seed"]
        for job in jobs_of(config, "table10")
        if job.rule == "attack_model"
    }
    assert seeds == {"0", "1"}


def test_shards_share_the_images() -> None:
    def jobs(shards: int) -> list[PlannedJob]:
        changed = yaml.safe_load(MATCHBOX.read_text())
        changed["data"]["scenes"]["val_images"] = 5  # batches of 2, 2 and 1
        changed["attacks"]["shards"] = shards
        return jobs_of(load_config(changed, [MATCHBOX]), "table9")

    assert len(jobs(2)) == len(jobs(1)) + 1
    assert sum(map(passes, jobs(2))) == sum(map(passes, jobs(1)))


def test_shards_of_one_size_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = yaml.safe_load(MATCHBOX.read_text())
    changed["data"]["scenes"]["val_images"] = 8
    changed["attacks"]["shards"] = 4
    config, counted = load_config(changed, [MATCHBOX]), []
    passes_of = costs._suite_work

    def count(config: Config, model: str, section: AnySuite, images: int) -> Iterator[Work]:
        counted.append(model)
        return passes_of(config, model, section, images)

    monkeypatch.setattr(costs, "_suite_work", count)
    attacks = [job for job in jobs_of(config, "table9") if job.rule == "attack_model"]
    assert len(attacks) == 4 * len(counted) > 0


def test_published_sizes() -> None:
    text = yaml.safe_load(MATCHBOX.read_text())
    text["data"] |= {"voc": {"kind": "voc"}, "ade": {"kind": "ade20k", "background": "ignore"}}
    data = load_config(text, [MATCHBOX]).data
    assert images_in(data["voc"]) == (8498, 1449)
    assert images_in(data["ade"]) == (20210, 2000)
    assert (data["voc"].num_classes, data["ade"].num_classes) == (21, 150)
    assert (data["scenes"].num_classes, data["shapes"].num_classes) == (10, 9)


def test_photographs_are_counted_by_their_own_size_and_views_by_the_crops(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for name in "abcd":
        Image.new("RGB", (128, 72)).save(tmp_path / "images" / f"{name}.png")
    folders = {name: str(tmp_path / name) for name in ("images", "masks")}
    train = {f"train_{name}": path for name, path in folders.items()}
    mine = {"kind": "folder", "classes": 10, "base_px": 32, **folders, **train}
    for data, evaluated in ((mine, 96), ({"kind": "camvid", "resize_px": 120}, 139)):
        text = yaml.safe_load(MATCHBOX.read_text())
        text["data"]["scenes"] = data | {"crop_px": 32}
        for section in ("targeted", "pictures", "gallery", "tables", "figures", "seeds"):
            text.pop(section, None)
        text["models"] = {"clean": text["models"]["clean"]}
        text["attacks"]["suites"] = {"sea": text["attacks"]["suites"]["sea"]}
        config = load_config(text, [MATCHBOX])
        sizes = [network_of(config, "clean", training).size_px for training in (False, True)]
        assert sizes == [evaluated, 32]


def test_a_kind_that_is_new_is_counted_by_what_its_section_says() -> None:
    """A class derived from `Downloaded` is all that the plan and the checks have to know."""

    class Maps(Downloaded):
        kind: Literal["maps"] = "maps"

        @property
        def published_images(self) -> tuple[int, int]:
            return 70, 30

    maps = Maps(crop_px=64, base_px=64)
    assert images_in(maps) == (70, 30)  # type: ignore[arg-type]
    assert known_images(maps) == (70, 30)  # type: ignore[arg-type]


def test_prices_add_up(tmp_path: Path) -> None:
    network = Network("convnext_demo", "upernet_demo", 10, 32)
    throughputs = {str(network): Throughput(forward_s=1, attack_s=2, update_s=4)}
    first = PlannedJob("train_model", (), (Work(network, forward=3600, update=900),))
    second = PlannedJob("attack_model", (), (Work(network, attack=1800),))
    done = tmp_path / "done"
    done.touch()
    shared, other = (first, str(done)), (second, str(tmp_path / "missing"))
    targets = {"table1": [shared], "table2": [shared, other], "table3": [other]}
    priced = {name: price(jobs, throughputs, "file") for name, jobs in targets.items()}
    rows = {row.target: row for row in rows_of(priced)}
    assert (rows["table1"].hours, rows["table1"].left_hours) == (2, 0)
    assert (rows["table2"].hours, rows["table2"].left_hours, rows["table2"].new_hours) == (3, 1, 1)
    assert (rows["table3"].left_hours, rows["table3"].new_hours) == (1, 0)
    everything = rows["everything"]
    assert (everything.jobs, everything.done, everything.hours) == (2, 1, 3)
    assert everything.million_passes == pytest.approx((3600 + 2 * 900 + 2 * 1800) / 1e6)
    text = to_markdown(list(rows.values()), "cpu")
    assert "| table2 | 2 | 1 | 0.009 | 3 | 1 | 1 |" in text
    hours = {"hours": 1234, "left_hours": 99.7, "new_hours": 9.97}
    large = replace(everything, million_passes=2231.4, **hours)
    assert "| 2 | 1 | 2231 | 1234 | 100 | 10 |" in to_markdown([large], "cpu")
    assert "Done is what has its file, also one of other settings" in text
    with pytest.raises(RobustsegError, match="no throughput of upernet_demo-convnext_demo-10"):
        price([shared], {}, "file")


def test_the_plan_that_is_printed_is_the_one_written(tmp_path: Path) -> None:
    network = Network("convnext_demo", "upernet_demo", 10, 32)
    throughput, plan = tmp_path / "throughput.json", tmp_path / "plan.md"
    throughput.write_text(json.dumps({"device": "a", "networks": {str(network): PASS}}))
    job = PlannedJob("train_model", (), (Work(network, update=36_000),))
    printed = make_plan({"table1": [(job, str(tmp_path / "none"))]}, str(throughput), str(plan))
    assert printed == plan.read_text()
    assert "| table1 | 1 | 0 | 0.072 | 3 | 3 | 3 |" in printed


def test_a_measurement_is_read_back(config: Config, tmp_path: Path) -> None:
    networks = [network_of(config, "clean"), network_of(config, "convnext_clean")]
    path = tmp_path / "throughput.json"
    write_throughput(path, networks, "cpu", "a processor", 2, Progress("test"))
    device, found = read_throughput(path)
    assert device == "a processor"
    assert set(found) == {str(network) for network in networks}
    assert all(
        one.attack_s > 0 and one.forward_s > 0 and one.update_s > 0 for one in found.values()
    )


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (Network("convnext_demo", "upernet_demo", 10, 32), (1, 10, 32, 32)),
        (Network("convnext_demo", "", 9, 32), (1, 9)),
    ],
)
def test_what_is_timed_is_the_network_itself(network: Network, shape: tuple[int, ...]) -> None:
    assert _built(network).eval()(torch.rand(1, 3, 32, 32)).shape == shape


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RobustsegError, match="does not exist"):
        read_throughput(tmp_path / "other.json")


PASS = {"forward_s": 0.1, "attack_s": 0.2, "update_s": 0.3}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is not JSON"),
        ("[]", r"should be a section of keys, not \[\]"),
        ('{"device": "a", "networks": {"n": NaN}}', "NaN is not a JSON number"),
        ({"device": "a"}, "networks is missing"),
        ({"device": "a", "networks": []}, r"networks should be .*, not \[\]"),
        ({"device": "a", "networks": {"n": [1]}}, r"networks\.n should be a section of keys"),
        ({"device": "a", "networks": {"n": {}}}, r"networks\.n\.forward_s is missing"),
        ({"device": None, "networks": {"n": PASS}}, "device should be text, not None"),
        *(
            (
                {"device": "a", "networks": {"n": PASS | {"attack_s": value}}},
                r"networks\.n\.attack_s should be .*, not ",
            )
            for value in (None, "1", True, 0, -1, 1e9, 10**400, [1], {"s": 1})
        ),
    ],
)
def test_throughputs_that_are_none_are_refused(
    content: object, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "throughput.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(RobustsegError, match=sentence) as refusal:
        read_throughput(path)
    assert str(refusal.value).startswith(str(path))
    assert str(refusal.value).endswith("; see docs/plan.md for its form")
    assert str(refusal.value).count(";") == 1


def test_a_pass_is_over_once_its_gpu_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr("torch.cuda.synchronize", done.append)
    monkeypatch.setattr("robustseg.plan.passes.ROUNDS", 1)
    for device in ("cpu", "cuda", "cuda:1"):
        _seconds(lambda: None, device)
    assert done == ["cuda", "cuda", "cuda:1", "cuda:1"]
