"""Nothing bad gets in: settings, claims, targets and the command line of a hostile user."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from robustseg.bounds import LARGEST_SEED
from robustseg.claims.language import parse_claims
from robustseg.config import check_typed, json_schema, load_config, read_config
from robustseg.errors import RobustsegError
from tests.test_text_files import BOMB
from tests.workflow.hostile import changed
from tests.workflow.running import MATCHBOX, ROOT, environment, matchbox, replace, snakemake


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["demo", "street", "claims"])
def test_changed_settings_are_right_or_refused_in_sentences(name: str) -> None:
    settings, draw, refusals = read(name), random.Random(name), []
    for _ in range(150):
        wrong = changed(settings, draw)
        try:
            if name == "claims":
                parse_claims(wrong, "file.yaml")
            else:
                load_config(wrong, [])
        except RobustsegError as error:
            refusals.append(str(error))
    assert len(refusals) > 75
    begins = "file.yaml" if name == "claims" else "--config"
    assert all(line.startswith(begins) for one in refusals for line in one.splitlines())


CHECKED_OTHERWISE = {"classes", "values", "ignore"}
"""Keys of `Folder` whose numbers `data.classes` checks."""


def numbers(schema: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the numbers that a JSON schema knows, with the key that they stand at."""
    if isinstance(schema, list):
        for one in schema:
            yield from numbers(one, key)
    elif isinstance(schema, dict):
        if schema.get("type") in ("integer", "number") and "const" not in schema:
            yield key, schema
        for name, inner in schema.items():
            named = name if name not in SCHEMA_WORDS else key
            yield from numbers(inner, named)


SCHEMA_WORDS = ("items", "anyOf", "oneOf", "additionalProperties", "properties", "$defs")


def test_every_number_of_the_schema_has_bounds() -> None:
    found = list(numbers(json.loads(json_schema())))
    assert len(found) > 60
    for key, schema in found:
        bounded = (
            {"maximum", "exclusiveMaximum"} & set(schema),
            {
                "minimum",
                "exclusiveMinimum",
            }
            & set(schema),
        )
        assert all(bounded) or key in CHECKED_OTHERWISE, f"{key} has no bounds: {schema}"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "training_seeds",
            [2**31],
            "seeds[0] should be less than or equal to 2147483647",
        ),
        ("tables.table9.0.seeds", [2**31], "seeds[0] should be less than or equal to 2147483647"),
        ("data.scenes.seed", 2**31, "scenes.seed should be less than or equal to 2147483647"),
        ("models.at_5.epochs", 10**30, "at_5.epochs should be less than or equal to 1000000"),
        ("models.at_5.eps_255", 1e-308, "at_5.eps_255 should be at least 0.001, not 1e-308"),
        ("models.at_5.eps_255", True, "at_5.eps_255 should be a number, not True"),
        ("models.at_5.steps", True, "at_5.steps should be a whole number, not True"),
        ("attacks.batch_size", 10**9, "attacks.batch_size should be less than or equal to 65536"),
        ("attacks.shards", 10**9, "attacks.shards should be less than or equal to 65536"),
        ("training.upernet.learning_rate", 1e308, "learning_rate should be less than or equal to"),
        (
            "training.upernet.learning_rate",
            1e-308,
            "learning_rate should be at least 1e-12, not",
        ),
        ("training.upernet.step_size", 2, "step_size should be less than or equal to 1, not 2"),
        ("tables.table9.0.eps_255", [1e-5], "eps_255[0] should be at least 0.001, not 1e-05"),
        ("tables.table9.0.eps_255", [4.1234567], "but file names keep six digits; write 4.12346"),
        ("data.scenes.size_px", 2**20, "scenes.size_px should be less than or equal to 16384"),
        ("data.scenes.val_images", 10**7, "pixels in its images, where 10,000,000,000 is much"),
        (
            "attacks.suites.sea.losses",
            ["js@" + "9" * 400],
            "a margin must be between 1e-06 and 1e+06",
        ),
        ("attacks.suites.sea.losses", ["tsallis:-" + "9" * 400 + ":1"], "q must be at least -100"),
        ("run", "a" * 101, "run should have at most 100 characters"),
        ("downloads", {"folder": "a{b}"}, "downloads.folder should have no braces"),
    ],
)
def test_numbers_out_of_bounds_are_refused(
    key: str, value: Any, sentence: str, tmp_path: Path
) -> None:
    settings = yaml.safe_load(MATCHBOX.read_text())
    replace(settings, key, value)
    with pytest.raises(RobustsegError) as refusal:
        load_config(settings, [])
    assert any(sentence in line for line in str(refusal.value).splitlines()), refusal.value


def test_the_largest_seed_is_one_and_minus_zero_is_zero() -> None:
    settings = yaml.safe_load(MATCHBOX.read_text())
    replace(settings, "training_seeds", [LARGEST_SEED])
    replace(settings, "models.clean.eps_255", -0.0)
    replace(settings, "training.upernet.weight_decay", -0.0)
    config = load_config(settings, [])
    assert config.training_seeds == [LARGEST_SEED]
    assert "-0.0" not in config.model_dump_json()


NO_CLASSES = 2**16 + 1


def test_a_folder_of_more_classes_than_masks_can_hold_is_refused(tmp_path: Path) -> None:
    settings = yaml.safe_load(MATCHBOX.read_text())
    folder = {"kind": "folder", "images": str(tmp_path), "masks": str(tmp_path)}
    for classes in (NO_CLASSES, 10**30):
        settings["data"]["mine"] = folder | {"classes": classes}
        with pytest.raises(RobustsegError, match="and masks hold at most 65536; give fewer"):
            load_config(settings, [])


# What is typed behind --config.


def typed(*words: str) -> Any:
    """Return the matchbox's configuration with words behind --config, merged as Snakemake does."""
    from snakemake.cli import parse_config
    from snakemake.utils import update_config

    settings, as_text = yaml.safe_load(MATCHBOX.read_text()), parse_config(words)
    update_config(settings, as_text)
    return load_config(settings, [MATCHBOX], words, as_text)


def test_numbers_lists_and_switches_behind_config_are_what_yaml_means() -> None:
    config = typed(
        "training_seeds=[3, 4]",
        "attacks={shards: 2, compiled: true, suites: {baselines: {step_size: {4: 0.25}}}}",
        "models={clean: {background: false}}",
        "run='3'",
        "throughput=null",
    )
    assert config.training_seeds == [3, 4]
    assert (config.attacks.shards, config.attacks.compiled) == (2, True)
    assert config.attacks.suites["baselines"].step_size[4] == 0.25
    assert not config.models["clean"].background
    assert (config.run, config.throughput) == ("3", None)
    assert typed("run=2024-05-01").run == "2024-05-01"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("training_seeds=[2147483648]", "--config: training_seeds[0] should be less than or equal"),
        (
            "attacks={shards: 2, shards: 3}",
            "--config attacks, line 1: the key shards is there t",
        ),
        ("attacks={shards: two}", "--config: attacks.shards should be a whole number, not 'two'"),
        ("attacks={shards: '2'}", "--config: attacks.shards should be a whole number, not '2'"),
    ],
)
def test_what_is_wrong_behind_config_is_said(words: str, sentence: str) -> None:
    with pytest.raises(RobustsegError) as refusal:
        typed(words)
    assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize("words", ["foo", "a=1", "=3", "x y=3", "models=[[[", "run=[a]: b"])
def test_what_snakemake_would_not_take_behind_config_is_refused_first(words: str) -> None:
    with pytest.raises(RobustsegError, match=r"^--config"):
        check_typed([words])


# What Snakemake reads itself, before the Snakefile.


def said(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 1, run.stdout
    assert "Traceback" not in run.stdout
    return run.stdout


WRONG_FILES: list[tuple[bytes, str]] = [
    (b"run: caf\xe9", "is not UTF-8 text"),
    (b"", "is empty; write keys and values"),
    (b"- a", r"holds \['a'\]; write keys and values"),
    (b"a: [", "is not YAML"),
    (BOMB.encode(), "unfolds to more than"),
    (b"[" * 3000 + b"]" * 3000, "is nested deeper than"),
]


@pytest.mark.parametrize(("content", "sentence"), WRONG_FILES, ids=range(len(WRONG_FILES)))
def test_a_file_that_is_no_configuration_is_refused(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(RobustsegError, match=sentence) as refusal:
        read_config(path)
    assert str(path) in str(refusal.value)


def test_it_is_refused_before_snakemake_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(BOMB)  # which Snakemake would never have read
    run = snakemake("--dry-run", "--configfile", MATCHBOX, path, "--", "table5", folder=tmp_path)
    (line,) = [line for line in said(run).splitlines() if "robustseg: error:" in line]
    assert str(path) in line
    assert "unfolds to more than" in line


def test_a_home_that_cannot_be_written_to_is_said_before_snakemake_writes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()
    run = snakemake(
        *("--dry-run", "--configfile", MATCHBOX, "--", "table5"),
        folder=tmp_path,
        HOME=str(home),
        XDG_CACHE_HOME="",
    )
    assert f"{home} is no folder" in said(run)


def test_the_file_that_a_profile_names_is_looked_at_too(tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(f"configfile: {tmp_path}/none.yaml\n")
    run = snakemake("--dry-run", "--profile", profile, "--", "table5", folder=tmp_path)
    assert f"robustseg: error: {tmp_path}/none.yaml cannot be read: No such file" in said(run)


def test_merge_keys_and_a_byte_order_mark_reach_the_plan(tmp_path: Path) -> None:
    path = matchbox(tmp_path)
    merged = "training_seeds: [0]\ntraining:\n  sgd: &x {power: 1.0}\n  sgd: {<<: *x}\n"
    merged = merged.replace("  sgd: {<<", "  upernet: {<<").replace("sgd: &x", "backbone: &x")
    (tmp_path / "more.yaml").write_text("\ufeff" + merged, encoding="utf-8")
    files = ["--configfile", path, tmp_path / "more.yaml"]
    run = snakemake("--dry-run", *files, "--", "table5", folder=tmp_path)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("", "an empty word is not a target; known are plan, data"),
        ("eps...", "eps... is not a target; known are plan, data"),
        ("eps1.2.3", "eps1.2.3 is not a target; known are plan, data"),
        ("{model}", "{model} is not a target; known are plan, data"),
        ("tabel5", "; perhaps you meant table5"),
        ("results/matchbox/tables/tabel5.md", "; perhaps you meant table5"),
        ("attack_model", "'attack_model' is a rule, not a target: ask for one of the files"),
        (
            "results/matchbox/attacks/sea/at_6/seed0/eps4/seed0-shard0.parquet",
            "; perhaps you meant at_5",
        ),
        (
            "results/matchbox/attacks/sea/at_5/seed0/eps9999/seed0-shard0.parquet",
            "cannot be made: radii are above 0 and at most 255",
        ),
        (
            "results/matchbox/attacks/sea/at_5/seed0/eps4.0/seed0-shard0.parquet",
            "its name should end in attacks/sea/at_5/seed0/eps4/seed0-shard0.parquet",
        ),
        (
            "results/matchbox/attacks/sea/at_5/seed0/eps4/seed2147483648-shard0.parquet",
            "seed2147483648 should be seed0 to seed2147483647",
        ),
        (
            "results/matchbox/attacks/sea/at_5/seed0/eps4/seed0-shard7.parquet",
            "shards count from 0, and attacks.shards leads to 1",
        ),
    ],
)
def test_a_target_that_is_none_is_named(target: str, sentence: str, tmp_path: Path) -> None:
    run = snakemake("--dry-run", "--configfile", MATCHBOX, "--", target, folder=tmp_path)
    line = said(run).splitlines()[-1]
    assert sentence in line
    assert "Exception" not in run.stdout
    assert not target or target in line


def test_an_absolute_path_is_answered_with_the_relative_one(tmp_path: Path) -> None:
    table = "results/matchbox/tables/table5.md"
    words = ("--dry-run", "--configfile", MATCHBOX, "--", tmp_path / table)
    line = said(snakemake(*words, folder=tmp_path)).splitlines()[-1]
    sentence = f"is not a target: paths begin where snakemake runs; ask for {table}"
    assert line.endswith(f"{tmp_path / table} {sentence}")


@pytest.mark.parametrize("name", ["a{b}c", "q'uo\"te $x", "ümlaut %s; [c]"])
def test_the_checkout_may_lie_anywhere_but_in_braces(name: str, tmp_path: Path) -> None:
    here = tmp_path / name
    kept = shutil.ignore_patterns("__pycache__")
    for folder in ("src", "rules", "scripts", "config", "profiles", "envs"):
        shutil.copytree(ROOT / folder, here / folder, ignore=kept)
    shutil.copy(ROOT / "Snakefile", here)
    words = ["-m", "snakemake", "--dry-run", "--configfile", MATCHBOX, "--", "claims"]
    run = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env=environment(),
    )  # fmt: skip
    if "{" in name:
        assert f"the folder {here} has braces in its name" in said(run)
    else:
        assert run.returncode == 0, run.stdout
