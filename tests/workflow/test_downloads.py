"""PASCAL-VOC and ADE20K from a server to a table, on a handful of images; and a broken server."""

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from robustseg.data.archives import ARCHIVES
from robustseg.evidence.reading import read_evidence
from tests.campaign.disks import can_mount
from tests.data.archives import SBD_TRAIN, VOC_VAL, voc_files, write_archives, write_tar
from tests.serving import Server, serve
from tests.workflow.running import MATCHBOX, planned, snakemake

pytestmark = pytest.mark.timeout(900)

RUN = Path("results", "downloads")
CPU = ["--cores", "2", "--quiet", "reason"]
SMALL = {"crop_px": 32, "base_px": 40, "check_counts": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve all archives, one of them through a connection that breaks."""
    folder = tmp_path_factory.mktemp("served")
    write_archives(folder)
    with tarfile.open(folder / "VOCtrainval_11-May-2012.tar", "a") as archive:
        large = tarfile.TarInfo("VOCdevkit/VOC2012/unwanted")  # as the published ones are
        large.size = 2_000_000
        archive.addfile(large, io.BytesIO(bytes(large.size)))
    with serve(folder) as running:
        running.pages.add("login/benchmark.tgz")
        running.break_after["VOCtrainval_11-May-2012.tar"] = [5000]
        yield running


def configuration(folder: Path, server: Server, **changes: Any) -> Path:
    """Write a configuration of one model on VOC, with SEA and a table; and ADE20K's images."""
    config = yaml.safe_load(MATCHBOX.read_text())
    clean = config["models"]["clean"] | {"dataset": "voc"}
    del config["gallery"], config["targeted"], config["pictures"], config["seeds"]
    config |= {
        "run": "downloads",
        "data": {
            "shapes": config["data"]["shapes"],
            "voc": {"kind": "voc", **SMALL},
            "ade20k": {"kind": "ade20k", **SMALL},
        },
        "backbones": {"convnext_clean": config["backbones"]["convnext_clean"]},
        "models": {"clean": clean},
        "tables": {
            "table9": [{"model": "clean", "suites": ["sea"], "eps_255": [4]}],
            "leak": [{"model": "clean", "suites": ["sea"], "eps_255": [4]}],
        },
        "figures": {},
        "downloads": {"archives": archives_of(server)},
    }
    config["attacks"]["suites"] = {"sea": config["attacks"]["suites"]["sea"]}
    for section, change in changes.items():
        config[section] |= change
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def archives_of(server: Server) -> dict[str, Any]:
    """Return where the archives are, with their hashes; SBD's first mirror wants a login."""
    return {
        name: {
            "urls": [
                *([server.url(f"login/{archive.file}")] if name == "sbd" else []),
                server.url(archive.file),
            ],
            "sha256": hashlib.sha256((server.folder / archive.file).read_bytes()).hexdigest(),
        }
        for name, archive in ARCHIVES.items()
    }


def test_without_any_data_everything_can_be_planned(server: Server, tmp_path: Path) -> None:
    config = configuration(tmp_path, server)
    arguments = ["--dry-run", "--configfile", config, "--", "data", "table9", "leak"]
    run = snakemake(*arguments, folder=tmp_path)
    assert run.returncode == 0, run.stdout
    jobs = planned(run.stdout)
    assert jobs["download_archive"] == jobs["unpack_archive"] == 3
    assert jobs["prepare_data"] == 2
    assert jobs["make_table"] == 2


@pytest.fixture(scope="module")
def finished(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run from downloads to the table once and return the folder."""
    folder = tmp_path_factory.mktemp("downloads")
    config = configuration(folder, server)
    run = snakemake(*CPU, "--configfile", config, "--", "data", "table9", "leak", folder=folder)
    assert run.returncode == 0, run.stdout
    assert "answers with a web page instead of the file" in run.stdout
    return folder


def test_the_table_is_about_the_images_of_voc(finished: Path) -> None:
    assert (finished / RUN / "tables" / "table9.md").read_text().count("|") > 10
    rows = read_evidence(sorted((finished / RUN / "attacks").rglob("*.parquet")))
    assert set(rows["image_id"]) == set(VOC_VAL)
    assert set(rows["suite"]) == {"clean", "sea"}
    void = rows.loc[rows["suite"] == "clean"].set_index("image_id")["pixels"]
    assert (void < 32 * 32).all()  # void pixels are not counted
    assert (void > 900).all()


def test_the_leak_is_scored_by_itself(finished: Path) -> None:
    table = pq.read_table(finished / RUN / "tables" / "leak.parquet").to_pandas()
    rows = read_evidence(sorted((finished / RUN / "attacks").rglob("*.parquet")))
    rows["acc"] = 100 * rows["pixels_correct"] / rows["pixels"]
    worst = rows.groupby(["eps_255", "image_id"], observed=True)["acc"].min()
    found = table[table["metric"] == "acc"].set_index(["attack", "images"])["value"].to_dict()
    inside, outside = ["2007_000033"], ["2007_000042", "2007_000061", "2007_000123"]
    assert found == {
        (f"{word}_{part}", len(ids)): pytest.approx(worst[eps_255][ids].mean())
        for word, eps_255 in (("clean", 0), ("worst", 4))
        for part, ids in (("inside", inside), ("outside", outside), ("all", VOC_VAL))
    }
    assert "| outside (3) |" in (finished / RUN / "tables" / "leak.md").read_text()


def test_both_data_sets_are_there(finished: Path) -> None:
    data = finished / RUN / "data"
    assert pq.read_table(data / "voc" / "train.parquet").num_rows == len(SBD_TRAIN)
    assert pq.read_table(data / "ade20k" / "train.parquet").num_rows == 5
    assert not list((finished / "data").rglob("*.partial"))
    assert not list((finished / "data").glob(".*unpacking"))
    assert not (finished / "data" / "sbd" / "benchmark_RELEASE" / "dataset" / "inst").exists()


def test_an_archive_that_is_merely_younger_makes_nothing_out_of_date(finished: Path) -> None:
    (finished / "data" / "VOCtrainval_11-May-2012.tar").touch()
    arguments = ["--dry-run", "--configfile", finished / "config.yaml", "--", "data", "table9"]
    run = snakemake(*arguments, folder=finished)
    assert "Nothing to be done" in run.stdout


def test_what_another_run_has_fetched_meanwhile_stays(server: Server, finished: Path) -> None:
    asked = len(server.requests)
    target = "data/VOCtrainval_11-May-2012.tar"
    arguments = ["--configfile", finished / "config.yaml", "--forcerun", "download_archive"]
    run = snakemake(*CPU, *arguments, "--", target, folder=finished)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout) == {"download_archive": 1}
    assert len(server.requests) == asked


def test_nothing_is_done_again(server: Server, finished: Path) -> None:
    asked = len(server.requests)
    mirrored = archives_of(server)
    mirrored["voc2012"]["urls"].insert(0, server.url("other.tar"))
    changed = configuration(finished, server, downloads={"archives": mirrored})
    for archive in ARCHIVES.values():  # they may go once they are unpacked
        (finished / "data" / archive.file).unlink(missing_ok=True)
    run = snakemake(*CPU, "--configfile", changed, "--", "data", "table9", "leak", folder=finished)
    assert run.returncode == 0, run.stdout
    assert "Nothing to be done" in run.stdout
    assert len(server.requests) == asked


def test_a_copy_of_ones_own_needs_no_download(finished: Path, server: Server) -> None:
    own = finished / "own"
    own.mkdir()
    (own / "VOCdevkit").symlink_to(finished / "data" / "voc2012" / "VOCdevkit")
    (own / "benchmark_RELEASE").symlink_to(finished / "data" / "sbd" / "benchmark_RELEASE")
    data = {"own": {"kind": "voc", "root": str(own), **SMALL}}
    config = configuration(finished, server, data=data)
    target = RUN / "data" / "own" / "val.parquet"
    run = snakemake(*CPU, "--configfile", config, "--", target, folder=finished)
    assert run.returncode == 0, run.stdout
    assert planned(run.stdout) == {"prepare_data": 1}
    assert pq.read_table(finished / target)["image_id"].to_pylist() == VOC_VAL


def test_a_wrong_hash_is_a_sentence_and_the_next_run_continues(
    server: Server, tmp_path: Path
) -> None:
    wrong = archives_of(server)
    right = wrong["train_noval"]["sha256"]
    wrong["train_noval"]["sha256"] = "0" * 64
    voc = {"kind": "voc", "train_split": "noleak_5623", **SMALL}
    for archives, status in ((wrong, 1), (archives_of(server), 0)):
        changes = {"downloads": {"archives": archives}, "data": {"voc": voc}}
        config = configuration(tmp_path, server, **changes)
        target = RUN / "data" / "voc" / "train.parquet"
        run = snakemake(*CPU, "--configfile", config, "--", target, folder=tmp_path)
        assert run.returncode == status, run.stdout
        if status:
            assert "[download train_noval.txt] error: could not download train_noval.txt" in (
                run.stdout
            )
            assert f"has sha256 {right}, but {'0' * 64} is expected" in run.stdout
            assert "Traceback (most recent call last)" not in run.stdout
            assert not (tmp_path / "data" / "train_noval.txt").exists()
    assert pq.read_table(tmp_path / target).num_rows == 3


def test_hostile_and_truncated_archives_are_sentences(server: Server, tmp_path: Path) -> None:
    bad = archives_of(server)
    hostile = {"VOCdevkit/VOC2012/JPEGImages/../../../../../outside": b"hostile"}
    write_tar(server.folder / "hostile.tar", voc_files() | hostile, "w")
    whole = (server.folder / "benchmark.tgz").read_bytes()
    (server.folder / "truncated.tgz").write_bytes(whole[: len(whole) // 2])
    for name, file in (("voc2012", "hostile.tar"), ("sbd", "truncated.tgz")):
        digest = hashlib.sha256((server.folder / file).read_bytes()).hexdigest()
        bad[name] = {"urls": [server.url(file)], "sha256": digest}
    target = RUN / "data" / "voc" / "train.parquet"
    config = configuration(tmp_path, server, downloads={"archives": bad})
    arguments = ["--keep-going", "--configfile", config, "--", target]
    run = snakemake(*CPU, *arguments, folder=tmp_path)
    assert run.returncode == 1, run.stdout
    assert "[unpack voc2012] error: data/VOCtrainval_11-May-2012.tar is refused, its" in run.stdout
    assert "[unpack sbd] error: data/benchmark.tgz is truncated or no archive" in run.stdout
    assert "Traceback (most recent call last)" not in run.stdout
    assert not list(tmp_path.rglob("outside"))
    assert not (tmp_path / "data" / "voc2012").exists()
    assert not (tmp_path / "data" / "sbd").exists()
    configuration(tmp_path, server)
    run = snakemake(*CPU, *arguments, folder=tmp_path)
    assert run.returncode == 0, run.stdout
    assert pq.read_table(tmp_path / target).num_rows == len(SBD_TRAIN)


def test_a_folder_above_leaves_the_files_of_one_of_its_name_alone(
    server: Server, tmp_path: Path
) -> None:
    """Snakemake's copy of `../../shared/x` would lie in `shared/x`, and be removed."""
    work, mine = tmp_path / "a" / "work", tmp_path / "a" / "work" / "shared" / "train_noval.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("a file of one's own")
    config = configuration(work, server, downloads={"folder": "../../shared"})
    target = tmp_path / "shared" / mine.name
    arguments = ["--configfile", config, "--forcerun", "download_archive", "--", target]
    for _ in range(2):  # the first time there is nothing to be copied
        run = snakemake(*CPU, *arguments, folder=work)
        assert run.returncode == 0, run.stdout
        assert mine.read_text() == "a file of one's own"
    assert target.is_file()


@pytest.mark.skipif(
    not can_mount(), reason="a folder that cannot be written takes the right to mount"
)
@pytest.mark.parametrize("part", [".", "results", "data"])
def test_a_folder_that_cannot_be_written_is_said_before_anything_is_made(
    part: str, server: Server, tmp_path: Path
) -> None:
    config = configuration(tmp_path, server)
    read_only = tmp_path / part
    read_only.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", read_only, read_only], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", read_only], check=True)
        run = snakemake(*CPU, "--configfile", config, "--", "data", folder=tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", read_only], check=True)
    assert run.returncode == 1
    assert f"is to be made, but nothing can be written to {read_only}; correct its" in run.stdout
    assert "Traceback (most recent call last)" not in run.stdout
    assert not list(tmp_path.rglob("*.parquet"))


def test_an_archive_put_there_by_hand_is_checked(server: Server, tmp_path: Path) -> None:
    config = configuration(tmp_path, server)
    archive = tmp_path / "data" / "ADEChallengeData2016.zip"
    archive.parent.mkdir()
    archive.write_bytes((server.folder / "benchmark.tgz").read_bytes())
    target = tmp_path / "data" / "ade20k.unpacked"
    arguments = ["--configfile", config, "--", target.relative_to(tmp_path)]
    run = snakemake(*CPU, *arguments, folder=tmp_path)
    assert run.returncode == 1
    assert "[unpack ade20k] error: data/ADEChallengeData2016.zip has sha256 " in run.stdout
    archive.write_bytes((server.folder / archive.name).read_bytes())
    asked = len(server.requests)
    run = snakemake(*CPU, *arguments, folder=tmp_path)
    assert run.returncode == 0, run.stdout
    assert len(server.requests) == asked
