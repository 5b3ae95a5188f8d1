"""The command line, as somebody types it."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustseg import __version__, cli
from robustseg.cli import main
from robustseg.evaluation import check
from robustseg.evaluation.check import _memory, _time_passes
from robustseg.evaluation.run_folder import read_run
from robustseg.models.build import build_segmentation_model
from robustseg.models.checkpoints import save_weights
from robustseg.models.wrap import wrap
from tests.workflow.running import ROOT

MODEL = """
import torch

def colours(images):
    return torch.stack([3 * images[:, 0], 3 * images[:, 1], 3 * images[:, 2]], 1)

def second(images):
    return colours(images).flip(1), colours(images)


def rounds(images):
    return colours(torch.round(images * 3) / 3)

def hidden(images):
    return colours(images.detach())

class Net(torch.nn.Conv2d):
    def __init__(self):
        super().__init__(3, 3, 1)
        with torch.no_grad():
            self.weight.copy_(3 * torch.eye(3)[:, :, None, None])
            self.bias.zero_()

def net():
    return Net()

def wrapped():
    import robustseg
    return robustseg.wrap(torch.nn.Conv2d(3, 4, 1))

def of_voc():
    return torch.nn.Conv2d(3, 21, 1)

def leaves():
    raise SystemExit(5)

broken = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four photographs of colours, their masks, and a model in a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodels.py").write_text(MODEL)
    generator = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        pixels = generator.integers(0, 256, (10, 12 + number // 2, 3), np.uint8)
        mask = pixels.argmax(2).astype(np.uint8)
        mask[0] = 255
        Image.fromarray(pixels).save(tmp_path / "images" / f"photo{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"photo{number}.png")
    return tmp_path


DATA = ["--data", "images", "masks", "--classes", "3"]


def test_check_says_what_there_is_and_what_it_costs(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "mymodels.py:net", *DATA, "--eps", "8", "--iterations", "10"]) == 0
    said = capsys.readouterr().out
    assert "ACC 100.00 %, mIoU 100.00 % over 4 of 4 images" in said
    assert "(3, 10, 12)" in said
    assert "40 forward and backward passes an image" in said
    assert "normalised    no: the network gets images in [0, 1]" in said
    assert "warnings      none" in said


def test_a_class_of_the_value_that_is_ignored_by_default(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The advice works when it is followed."""
    for path in sorted((here / "masks").iterdir()):
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 2, 255, mask)).save(path)
    known = ["check", "mymodels.py:net", *DATA, "--values", "0,1,255"]
    assert main(known) == 1
    assert "--ignore none), and if they do not, [255] (--ignore 255)" in capsys.readouterr().err
    for ignore, share in (("none", "0.0 %"), ("null", "0.0 %"), ("255", "% ignored")):
        assert main([*known, "--ignore", ignore]) == 0
        said = capsys.readouterr().out
        assert share in said
        assert ("0.0 % ignored" in said) == (ignore != "255")


def test_an_image_with_ignored_pixels_alone_is_in_no_figure(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = min((here / "masks").iterdir())
    Image.fromarray(np.full_like(np.array(Image.open(first)), 255)).save(first)
    command = ["mymodels.py:net", *DATA, "--iterations", "3", "--suites", "sea", "alma"]
    assert main(["check", *command]) == 0
    said = capsys.readouterr().out
    assert "over 3 of 4 images (ignored pixels in neither; 1 image has no other pixels)" in said
    assert main(["attack", *command, "--out", "run"]) == 0
    run = read_run(Path("run"))
    (flipped,) = (one for one in run.numbers.entries if one.metric == "flipped_images")
    assert (flipped.value, flipped.images) == (0, 3)


@pytest.mark.parametrize("command", ["check", "attack"])
def test_masks_without_a_label_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Their values 0 to 2 are none of the classes'."""
    options = [*DATA, "--values", "7,8,11", "--ignore", "others", "--iterations", "3"]
    assert main([command, "mymodels.py:net", *options, *OUT[command]]) == 1
    said = capsys.readouterr()
    assert "nan" not in said.out
    assert "are ignored; check" in said.err
    assert "--values" in said.err
    assert main(["report", "run"]) == 1
    assert "run holds no run" in capsys.readouterr().err


OUT = {"check": [], "attack": ["--out", "run"]}


def test_the_place_of_the_logits_may_be_a_number(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "mymodels.py:second", *DATA, "--output", "1"]) == 0
    assert "ACC 100.00 %" in capsys.readouterr().out


def test_check_prices_all_passes_of_all_images(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = {True: 3.0, False: 1.0}
    monkeypatch.setattr(check, "_time_passes", lambda model, first, backward: cost[backward])
    command = ["check", "mymodels.py:net", *DATA, "--eps", "8", "--iterations", "10"]
    assert main([*command, "--suites", "sea", "blackbox"]) == 0
    said = capsys.readouterr().out
    assert "(40 forward and backward passes an image, 10 forward passes an image)" in said
    assert f"will take about {4 * (40 * 3 + 10) / 60:.0f} min" in said


def test_a_number_in_brackets_in_a_help_is_the_default() -> None:
    (commands,) = (one for one in cli.parser()._actions if isinstance(one.choices, dict))
    found = 0
    for action in (one for command in commands.choices.values() for one in command._actions):
        said = re.search(r"\(([\d. ]+)\)", action.help or "")
        if said and action.default is not None:
            default = action.default if isinstance(action.default, list) else [action.default]
            assert [*map(float, said[1].split())] == default, action.help
            found += 1
    assert found > 5


def test_check_prices_forward_passes_by_themselves(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", "mymodels.py:hidden", *DATA, "--eps", "4", "8", "--iterations", "10"]
    assert main([*command, "--suites", "blackbox"]) == 0
    said = capsys.readouterr().out
    assert "an image, forward; " in said
    assert "blackbox at 2 radii on 4 images will take about" in said
    assert "(20 forward passes an image)" in said
    assert "forward and backward" not in said
    assert main(command) == 1
    assert "attack it with the suite blackbox, which needs none" in capsys.readouterr().err
    seen = [*command[:1], "mymodels.py:net", *command[2:]]
    assert main([*seen, "--suites", "sea", "blackbox"]) == 0
    said = capsys.readouterr().out
    assert "sea, blackbox at 2 radii" in said
    assert "(80 forward and backward passes an image, 20 forward passes an image)" in said


def test_a_model_without_gradients_is_attacked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["attack", "mymodels.py:hidden", *DATA, "--eps", "60", "--iterations", "30"]
    assert main([*command, "--suites", "blackbox", "--out", "runs/hidden"]) == 0
    assert main(["report", "runs/hidden"]) == 0
    said = capsys.readouterr().out
    assert "| 60/255 |" in said
    assert "| Square (" in said
    assert main(["attack", "mymodels.py:net", *command[2:], "--out", "runs/net"]) == 0
    assert not Path("runs/net/tables/black_box.md").exists()
    both = ["--suites", "sea", "blackbox", "--out", "runs/both"]
    assert main(["attack", "mymodels.py:net", *command[2:], *both]) == 0
    assert main(["report", "runs/both"]) == 0
    assert "Square (30 queries)" in Path("runs/both/tables/black_box.md").read_text()


def test_a_warning_is_printed_before_the_attack_and_with_its_result(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An attack can take days, so that a wrong set-up is to be seen before."""
    command = ["attack", "mymodels.py:second", *DATA, "--output", "0", "--eps", "8"]
    assert main([*command, "--iterations", "3", "--out", "runs/net"]) == 0
    said = capsys.readouterr()
    _, *after = said.err.split("robustseg: warning: without an attack")
    assert len(after) == 1
    assert "[evaluate model]" in after[0]
    assert said.out.count("Warning: without an attack") == 1


def test_attack_and_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["attack", "mymodels.py:colours", *DATA, "--eps", "4", "8", "--iterations", "5"]
    assert main([*command, "--out", "runs/net"]) == 0
    said = capsys.readouterr().out
    assert "| 4/255 | 100.0" in said
    assert main(["report", "runs/net"]) == 0
    page = (here / "runs" / "net" / "report" / "index.html").read_text()
    assert "Robustness" in page
    assert "<script src" not in page
    assert "gallery-view" in page
    table = (here / "runs" / "net" / "tables" / "robustness.md").read_text()
    assert "8/255" in table
    assert main([*command, "--out", "runs/net", "--pictures", "0"]) == 0
    assert main(["report", "runs/net"]) == 0
    assert "gallery-view" not in (here / "runs/net/report/index.html").read_text()


def test_terminals_that_lack_letters_or_take_nothing_lose_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["attack", "mymodels.py:colours", *DATA, "--eps", "4", "--iterations", "3"]
    assert main([*command, "--out", "run"]) == 0
    report = [sys.executable, "-m", "robustseg", "report", "run"]
    ascii_alone = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(report, env=ascii_alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "page: run/report/index.html" in done.stdout
    for at_once in ("1", ""):  # without, Python prints when it has much to say, or ends
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                report,
                env=os.environ | {"PYTHONUNBUFFERED": at_once},
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert done.returncode == 1
        said = "robustseg: error: what was to be printed or kept: No space left on device\n"
        assert done.stderr == said


def test_it_ends_in_silence_where_nobody_reads_any_more(here: Path) -> None:
    """As after `| head`; what it was asked to make is made all the same."""
    command = ["attack", "mymodels.py:colours", *DATA, "--eps", "4", "--iterations", "3"]
    assert main([*command, "--out", "run"]) == 0
    report = ["report", "run", "--submit"]
    submission = Path("run/report/submissions/model_eps4.json")
    for arguments, at_once, status in (
        (["--help"], "", 0),
        (report, "1", 141),
        (report, "", 141),
        (["rank", "run", "--out", "board.html"], "", 141),
    ):
        if arguments == report:
            submission.unlink(missing_ok=True)
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "robustseg", *arguments],
            env=os.environ | {"PYTHONUNBUFFERED": at_once},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (status, ""), arguments
        assert arguments == ["--help"] or submission.exists()
    assert Path("board.html").exists()


def test_a_report_shows_second_opinions_where_there_are_some(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["attack", "mymodels.py:rounds", *DATA, "--eps", "8", "40", "--iterations", "5"]
    assert main([*command, "--out", "runs/net"]) == 0
    assert main(["report", "runs/net"]) == 0
    page, table = Path("runs/net/report/index.html"), Path("runs/net/tables/second_opinions.md")
    before = page.read_text()
    assert "be trusted?" not in before
    assert not table.exists()

    assert main(["doubt", "runs/net", "--eps", "40", "--images", "3"]) == 0
    said = capsys.readouterr().out
    assert "Evidence is in runs/net/attacks/doubt; `robustseg report runs/net` shows it." in said
    assert main(["report", "runs/net"]) == 0
    after = page.read_text()
    assert "model at 40/255: " in after
    assert "model at 8/255: " not in after
    verdict = next(line for line in table.read_text().splitlines() if "verdict" in line)
    assert verdict.endswith("**too high** |")
    others = [name for name in Path("runs/net/tables").iterdir() if name.suffix == ".csv"]
    assert {"second_opinions", "robustness"} < {name.stem for name in others}

    assert main(["doubt", "runs/net", "--images", "3"]) == 0
    assert main(["report", "runs/net"]) == 0
    assert "model at 8/255: " in page.read_text()
    for path in Path("runs/net/attacks/doubt").rglob("*.parquet"):
        path.unlink()
    assert main(["report", "runs/net"]) == 0
    assert page.read_text() == before
    assert not table.exists()


def test_shards_of_several_jobs_are_merged(here: Path) -> None:
    whole = ["attack", "mymodels.py:net", *DATA, "--eps", "8", "--iterations", "5"]
    whole += ["--batch-size", "1"]
    assert main([*whole, "--out", "whole"]) == 0
    for shard in ("0/3", "2/3", "1/3"):
        assert main([*whole, "--out", "parts", "--shard", shard]) == 0
    assert main(["report", "whole"]) == main(["report", "parts"]) == 0
    numbers = [Path(run, "tables", "robustness.csv").read_text() for run in ("whole", "parts")]
    assert numbers[0] == numbers[1]


def test_weights_and_class_names(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"module.weight": torch.zeros(3, 3, 1, 1), "module.bias": torch.eye(3)[1]}, "w.pth")
    Path("classes.txt").write_text("red\ngreen\nblue\n")
    command = ["check", "mymodels.py:net", "--weights", "w.pth", "--data", "images", "masks"]
    assert main([*command, "--classes", "classes.txt"]) == 0
    assert "always predicting class" in capsys.readouterr().out


def test_masks_that_number_their_classes_in_another_way(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted((here / "masks").iterdir()):
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 255, 0, mask + 5).astype(np.uint8)).save(path)
    known = ["check", "mymodels.py:net", *DATA, "--values", "5-7", "--ignore"]
    for ignore in ("0", "others", "0,255"):
        assert main([*known, ignore]) == 0
        assert "ACC 100.00 %, mIoU 100.00 % over 4 of 4 images" in capsys.readouterr().out
    assert main([*known, "255"]) == 1
    assert "holds the value 0, which is none of the 3 classes" in capsys.readouterr().err
    for option in (["--values", "5-7"], ["--ignore", "0"], ["--ids", "ids.txt"]):
        assert main(["check", "mymodels.py:net", "--data", "voc:x", *option]) == 1
        assert f"{option[0]} is for two folders" in capsys.readouterr().err


def test_a_published_data_set_has_its_name_in_evidence(here: Path) -> None:
    top = here / "VOCdevkit" / "VOC2012"
    for kind in ("images", "masks"):
        to = top / {"images": "JPEGImages", "masks": "SegmentationClass"}[kind]
        to.mkdir(parents=True)
        for path in (here / kind).iterdir():
            image = Image.open(path)
            image.save(to / path.with_suffix(".jpg" if kind == "images" else ".png").name)
    (top / "ImageSets" / "Segmentation").mkdir(parents=True)
    (top / "ImageSets" / "Segmentation" / "val.txt").write_text("photo0\nphoto1\n")
    command = ["attack", "mymodels.py:of_voc", "--data", "voc:.", "--iterations", "3"]
    assert main([*command, "--out", "run"]) == 0
    assert json.loads(Path("run/run-shard0-of-1.json").read_text())["dataset"] == "voc"


def test_a_wrapped_model_takes_the_classes_of_the_data(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["attack", "mymodels.py:wrapped", *DATA, "--iterations", "3", "--out"]
    assert main([*command, "run"]) == 0
    assert json.loads(Path("run/run-shard0-of-1.json").read_text())["num_classes"] == 3
    for folder in ("mymodels.py", "mymodels.py/run"):
        assert main([*command, folder]) == 1
        assert "mymodels.py is no folder; rename it" in capsys.readouterr().err


def test_a_name_that_is_not_utf_8_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["attack", "mymodels.py:net", *DATA, "--out", "r\udc80n"])
    assert r"argument --out: 'r\udc80n' is not UTF-8; rename it" in capsys.readouterr().err


def test_weights_that_are_no_tensors(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": [1], "bias": 2}, "w.pth")
    assert main(["check", "mymodels.py:net", *DATA, "--weights", "w.pth"]) == 1
    assert "w.pth holds no tensor as weight" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["mymodels.py:nothing", *DATA], "mymodels.py has no 'nothing'; models in it may be"),
        (["mymodels.py:broken", *DATA], "broken must be a module or a function of images, not int"),
        (["nowhere.py:net", *DATA], "the file nowhere.py does not exist"),
        (["no.such.module:net", *DATA], "cannot be imported"),
        (["no\nmodule:net", *DATA], r"'no\nmodule:net' is not a reference"),
        (["mymodels.py:net", *DATA, "--weights", "a\nb"], r"the weights a\nb do not exist"),
        (["mymodels.py:net", *DATA, "--values", "1,2,٣"], "`values` should hold values of masks"),
        (["mymodels.py:net", *DATA, "--output", "٣"], "has no '٣'"),
        (
            ["mymodels.py:net", "--data", "images", "masks", "--classes", "٣"],
            "classes ٣ is missing",
        ),
        (["net", *DATA], "is not a reference; write file.py:name"),
        (["mymodels.py:net", "--data", "images", "--classes", "3"], "--data takes a folder"),
        (["mymodels.py:net", "--data", "images", "masks"], "--classes is missing"),
        (["mymodels.py:net", "--data", "images", "nowhere", "--classes", "3"], "nowhere"),
        (["mymodels.py:net", *DATA, "--ignore", "x"], "--ignore is 'x'"),
        (["mymodels.py:net", *DATA, "--ignore", "none"], "255"),
        (["mymodels.py:net", *DATA, "--normalise", "x"], "--normalise is 'x'"),
        (["mymodels.py:net", *DATA, "--normalise", "1,1,nan/1,1,1"], "--normalise is '1,1,nan/"),
        (["mymodels.py:net", *DATA, "--normalise", "1,1,1/1,1,0"], "write finite means and posit"),
        (["mymodels.py:net", *DATA, "--suites", ""], "'' is not a suite; known are sea"),
        (["mymodels.py:net", *DATA, "--eps", "0"], "eps_255 is 0"),
        (["mymodels.py:net", *DATA, "--device", "tpu9"], "the device 'tpu9' cannot be used"),
        (["mymodels.py:net", *DATA, "--weights", "w.pth"], "the weights w.pth do not exist"),
        (["mymodels.py:net", "--data", "ade20k:nowhere"], "objectInfo150.txt is missing"),
        (["mymodels.py:net", "--data", "voc:nowhere"], "val.txt is missing"),
        (["mymodels.py:net", *DATA, "--images", "-1"], "images must be a whole number"),
        (["mymodels.py:net", *DATA, "--batch-size", "0"], "batch_size must be a whole number"),
        (["mymodels.py:net", *DATA, "--eps", "300"], "eps_255 must be between"),
        (["mymodels.py:net", *DATA, "--eps", "8.000012"], "but file names keep six digits"),
        (["mymodels.py:net", *DATA, "--normalise", "1"], "choose auto, none, imagenet"),
        (
            ["mymodels.py:net", "--data", "images", "masks", "--classes", "-3"],
            "at least 2 are needed",
        ),
        (["mymodels.py:net", *DATA, "--weights", "mymodels.py"], "running its code (it is damaged"),
        (["mymodels.py:net", *DATA, "--weights", "images"], "images are a folder; name the file"),
        (["mymodels.py:nothing", *DATA, "--iterations", "1"], "needs at least 3 iterations"),
        (["mymodels.py:leaves", *DATA], "failed when it was called: SystemExit: 5"),
        (["mymodels.py:wrapped", *DATA, "--normalise", "half"], "no use for normalise"),
        (["json:loads", *DATA], "the model failed on images"),
        (["torchvision:net", *DATA], "torchvision has no net; its models are"),
    ],
)
def test_wrong_input_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
) -> None:
    assert main(["check", *arguments]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("robustseg: error: ")
    assert match in said
    assert len(said.splitlines()) == 1


WRONG_NUMBERS = ("", "nan", "inf", "-1", "x", "1e400", "1_0", "٣", "9" * 30)


@pytest.mark.parametrize(
    "option",
    [
        *("--eps", "--iterations", "--images", "--batch-size", "--scale", "--divisor", "--resize"),
        *("--device", "--pictures", "--seed", "--shard", "--name"),
    ],
)
def test_no_option_lets_a_wrong_number_in(
    option: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "attack" if option in ("--pictures", "--seed", "--shard", "--name") else "check"
    out = ["--out", "run"] if command == "attack" else []
    named = ("nan", "inf", "x")  # which a model may be called
    for number in WRONG_NUMBERS:
        if option == "--name" and number in named:
            continue
        words = [command, "mymodels.py:net", *DATA, *out, f"{option}={number}"]
        try:
            status: object = main(words)
        except SystemExit as error:  # of argparse
            status = error.code
        said = capsys.readouterr().err
        assert status in (1, 2), words
        assert "error: " in said
        assert "Traceback" not in said


def test_edited_files_of_a_run_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--iterations", "3", "--eps", "8", "--pictures", "0", "--images", "1"]
    assert main(["attack", "mymodels.py:net", *DATA, *short, "--out", "run"]) == 0
    free = {"suites", "sources", "warnings", "dataset"}  # of which much is right
    for name in ("command.json", "run-shard0-of-1.json"):
        path = here / "run" / name
        whole = path.read_text()
        content = json.loads(whole)
        wrong = [
            content | {key: value}
            for key in content.keys() - free
            for value in (True, -1.5, [[]], {"a": None})
        ]
        wrong += [{k: v for k, v in content.items() if k != key} for key in content]
        texts = [*map(json.dumps, wrong), "", "[]", whole[:-9], whole.replace(":", ": NaN,", 1)]
        for text in texts:
            path.write_text(text)
            capsys.readouterr()
            assert main(["doubt", "run", "--images", "1"]) == 1, text
            assert "Traceback" not in capsys.readouterr().err, text
        path.write_text(whole)


def test_check_waits_for_the_gpu_that_the_model_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which another one than the first may be: here a CPU that is taken for it."""
    asked: list[object] = []

    def ask(device: object = None) -> int:
        asked.append(device)
        return 2**30

    for name in ("reset_peak_memory_stats", "synchronize", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, ask)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    images, labels = torch.rand(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    batch = images, labels, ["a"]
    _time_passes(wrap(torch.nn.Conv2d(3, 2, 1)), batch, backward=True)
    memory = _memory(batch)
    assert asked == [images.device] * 4
    assert memory == "1.0 GB of the GPU with 1 image at a time"


def test_a_full_gpu_is_one_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where it is not the model that asks for more."""

    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("robustseg.attacks.attacked_model.loss_and_gradient", full)
    command = ["attack", "mymodels.py:net", *DATA, "--eps", "8", "--iterations", "3"]
    assert main([*command, "--out", "run"]) == 1
    said = capsys.readouterr().err
    assert "robustseg: error: the GPU's memory is full; lower --batch-size" in said
    assert "Traceback" not in said


def test_a_report_of_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nowhere"]) == 1
    assert "nowhere holds no run; `robustseg attack" in capsys.readouterr().err


def test_a_report_of_a_stopped_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["attack", "mymodels.py:net", *DATA, "--iterations", "3", "--out", "run"]
    assert main(command) == 0
    Path("run", "run-shard0-of-1.json").unlink()  # written last
    assert main(["report", "run"]) == 1
    assert "the run in run is not finished; repeat its command" in capsys.readouterr().err
    assert main(command) == main(["report", "run"]) == 0


def test_check_says_how_images_are_normalised(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", "mymodels.py:net", *DATA, "--normalise"]
    assert main([*command, "imagenet"]) == 0
    known = "mean 0.485, 0.456, 0.406; deviation 0.229, 0.224, 0.225"
    assert f"normalised    {known}" in capsys.readouterr().out
    assert main([*command, "9,8,7/6,5,0.4", "--scale", "255"]) == 0
    assert "normalised    times 255; mean 9, 8, 7; deviation 6, 5, 0.4" in capsys.readouterr().out


def test_check_says_how_a_network_of_this_project_normalises_images(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = build_segmentation_model("resnet_demo", "pspnet_demo", 3, [0.1, 0.2, 0.3], [1, 2, 4])
    save_weights("w.safetensors", net, {"architecture": net.architecture})
    assert main(["check", "trained:w.safetensors", *DATA, "--images", "1"]) == 0
    known = "by the network itself: mean 0.1, 0.2, 0.3; deviation 1, 2, 4"
    assert f"normalised    {known}" in capsys.readouterr().out


def test_radii_are_in_255ths(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "mymodels.py:net", *DATA, "--eps", "8/255"])
    assert "'8/255' is not a number; radii are in 1/255, so write 8 for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"), [(" ", "' ' is empty; fill"), ("a\0", r"'a\x00' holds a character NUL")]
)
def test_words_that_name_nothing_are_refused_as_what_they_are(
    text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["check", text, *DATA])
    assert says in capsys.readouterr().err


def test_the_strongest_loss_is_told_with_its_margin(here: Path) -> None:
    command = ["attack", "mymodels.py:net", *DATA, "--suites", "sea_fast", "--iterations", "5"]
    assert main([*command, "--out", "run"]) == main(["report", "run"]) == 0
    assert "JS@10 (" in Path("run", "tables", "robustness.md").read_text()


def test_ctrl_c_ends_in_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustseg.evaluation import evaluate

    def stopped(*arguments: object, **rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate", stopped)
    assert main(["attack", "mymodels.py:net", *DATA, "--out", "run"]) == 130
    assert "continues from what is kept" in capsys.readouterr().err


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["attack"], ["attack", "a:b", *DATA, "--out", "x", "--shard", "3/3"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_the_extra_report_is_all_that_a_run_needs(here: Path) -> None:
    """From a model in a file to the page, as with pip install 'robustseg[report]'."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*extras["dependencies"], *extras["optional-dependencies"]["report"]]
    promised = {re.split("[>=]", one)[0].lower() for one in named}
    locked = re.findall(r"^([a-z0-9_.-]+)==", (ROOT / "envs" / "requirements.in").read_text(), re.M)
    others = {"numba", "scipy", "requests", "snakemake", "transformers", "timm", *locked}
    blocked = [*sorted(others - promised), "segmentation_models_pytorch"]
    assert "timm" in blocked
    arguments = ["attack", "mymodels.py:net", *DATA, "--iterations", "3", "--out", "run"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); "
        "from robustseg.cli import main; "
        f"sys.exit(main({arguments!r}) or main(['report', 'run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "page: run/report/index.html" in done.stdout


def test_what_lacks_an_extra_names_it() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None; import robustseg; robustseg.sea; "
        "robustseg.evaluate"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("robustseg.evaluate needs pyarrow: pip install 'robustseg[report]'")


def test_sea_and_wrap_need_three_packages() -> None:
    """Torch, NumPy and tqdm: whatever else is installed is not imported."""
    code = (
        "import sys, json, torch, numpy, tqdm; before = set(sys.modules); import robustseg; "
        "robustseg.sea, robustseg.wrap; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(json.dumps(sorted(new - set(sys.stdlib_module_names))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(found.stdout)) <= {"robustseg", "numpy", "torch", "tqdm"}


@pytest.mark.parametrize("word", ["", "\n"])
def test_a_word_that_nobody_sees_is_shown(capsys: pytest.CaptureFixture[str], word: str) -> None:
    with pytest.raises(SystemExit):
        main(["check", "mymodels.py:net", *DATA, word, "7"])
    assert f"unrecognized arguments: {word!r} '7'" in capsys.readouterr().err
