"""The command line: `robustseg check | attack | doubt | report | rank`."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg import __version__
from robustseg.bounds import LARGEST_PX, MOST_AT_ONCE, MOST_ITEMS, MOST_PASSES, NUMBER
from robustseg.errors import RobustsegError, is_of_full_gpu, shown
from robustseg.names import amount

if TYPE_CHECKING:
    from robustseg.data.interface import Dataset
    from robustseg.models.wrap import WrappedModel

MODEL_HELP = (
    "the model: file.py:name or package.module:name (a module, a function of images, or a function "
    "without arguments that makes one), hf:NAME, torchvision:NAME, smp:NAME, "
    "trained:FILE (weights.safetensors of this project) or released:NAME (of docs/weights.md)"
)
DATA_HELP = (
    "a folder of images and one of masks with the same names; or ade20k:FOLDER or voc:FOLDER "
    "with the archive's folders in it"
)
NOBODY_READS = 128 + signal.SIGPIPE
"""The exit status where what is printed goes to a process that has ended, as `head` does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0; 1 for what a person can mend; 130 for Ctrl-C.

    Where nobody reads what is printed any more, it ends in silence, with `NOBODY_READS`. Wrong
    usage ends the process with status 2, as argparse does.
    """
    known = parser()
    options, unknown = known.parse_known_args(arguments)
    if unknown:  # argparse's own sentence shows neither an empty word nor a line break
        known.error(f"unrecognized arguments: {' '.join(map(shown, unknown))}")
    warnings.simplefilter("ignore")  # they are said at the end, with the result
    try:
        options.run(options)
        if sys.stdout:  # None if it is closed
            sys.stdout.flush()  # else what cannot be printed is found when Python ends
    except RobustsegError as error:
        # What somebody typed may hold line breaks, and an error is one line.
        print(f"robustseg: error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return NOBODY_READS
    except OSError as error:
        where = error.filename or "what was to be printed or kept"
        print(f"robustseg: error: {where}: {error.strerror or error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("robustseg"):
            raise
        print(
            f"robustseg: error: this needs {error.name}: pip install 'robustseg[report]'",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("robustseg: stopped; the same command continues from what is kept", file=sys.stderr)
        return 130
    except Exception as error:
        if is_of_full_gpu(error):
            print(
                "robustseg: error: the GPU's memory is full; lower --batch-size, or end what else "
                "uses it. The same command continues from what is kept",
                file=sys.stderr,
            )
            return 1
        traceback.print_exc()
        print("robustseg: error: this is a bug in robustseg, please report it", file=sys.stderr)
        return 1
    return 0


def console() -> None:
    """Run the command that the process was started with.

    What a terminal's encoding lacks, such as a dash, is printed as a question mark.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # None if it is closed
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.exit(main())
    finally:
        _drop_unprinted()


def _drop_unprinted() -> None:
    """Let go of what could not be printed: Python would try again when it ends, and complain."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line; docs/command_line.md is written from it."""
    parser = argparse.ArgumentParser(
        prog="robustseg",
        description="Measure how robust a segmentation model is: its accuracy on the worst images "
        "within a radius around its data, found by the attack ensemble SEA.",
        epilog="Start with `robustseg check`: it attacks nothing, takes a minute, and says what "
        "`robustseg attack` will cost.",
    )
    parser.add_argument("--version", action="version", version=f"robustseg {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check", help="look at model and data without attacking", description=_check.__doc__
    )
    _add_model_and_data(check)
    check.set_defaults(run=_check)
    attack = commands.add_parser(
        "attack", help="attack the model and keep the evidence", description=_attack.__doc__
    )
    _add_model_and_data(attack)
    attack.add_argument(
        "--out",
        required=True,
        type=_path,
        help="folder for the run; the same command resumes there",
    )
    attack.add_argument(
        "--pictures", type=_count, default=4, metavar="N",
        help="keep the first N attacked images for the page of `report` (4); 0: none",
    )  # fmt: skip
    attack.add_argument("--seed", type=_count, default=0, help="seed of the random starts (0)")
    attack.add_argument(
        "--shard", type=_shard, default=(0, 1), metavar="I/N",
        help="attack the I-th of N parts of the images, from 0: for several machines or jobs",
    )  # fmt: skip
    attack.add_argument("--name", default="model", help="name of the model in tables (model)")
    attack.set_defaults(run=_attack)
    doubt = commands.add_parser(
        "doubt",
        help="get a second opinion on a run: is its figure too high?",
        description=_doubt.__doc__,
    )
    doubt.add_argument("folder", type=_path, help="folder of the run")
    doubt.add_argument(
        "--eps",
        type=_radius_255,
        nargs="+",
        metavar="EPS",
        help="radii to check, in 1/255 (all of the run)",
    )
    doubt.add_argument(
        "--images",
        type=_count,
        default=32,
        help="number of images to check, drawn from the run's (32)",
    )
    doubt.add_argument(
        "--source", type=_said, action="append", default=[], metavar="MODEL",
        help="also try attacks made on this other model; may be given several times",
    )  # fmt: skip
    doubt.add_argument(
        "--model", type=_said, help="where the model is now, if not where `attack` found it"
    )
    doubt.add_argument("--weights", type=_path, help="where its state dict is now")
    doubt.add_argument(
        "--data", type=_said, nargs="+", metavar="FOLDER", help="where the data are now"
    )
    doubt.add_argument(
        "--device", type=_said, help="torch device; by default a GPU if there is one"
    )
    doubt.set_defaults(run=_doubt)
    report = commands.add_parser(
        "report", help="make tables and a page of a run", description=_report.__doc__
    )
    report.add_argument("folder", type=_path, help="folder of the run")
    report.add_argument(
        "--submit", action="store_true",
        help="also write a submission for each radius, which `rank` reads, to report/submissions",
    )  # fmt: skip
    report.set_defaults(run=_report)
    rank = commands.add_parser(
        "rank", help="rank several models on a leaderboard", description=_rank.__doc__
    )
    rank.add_argument(
        "sources", type=_path, nargs="+", metavar="FILE",
        help="submissions that `report --submit` wrote, or folders of runs that have some",
    )  # fmt: skip
    rank.add_argument(
        "--out", required=True, type=_path,
        help="the page to write, NAME.html, with NAME.md and NAME.csv beside it",
    )  # fmt: skip
    rank.set_defaults(run=_rank)
    return parser


def _add_model_and_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=_said, help=MODEL_HELP)
    parser.add_argument("--weights", type=_path, help="state dict to load into the model")
    parser.add_argument(
        "--data", type=_said, nargs="+", required=True, metavar="FOLDER", help=DATA_HELP
    )
    parser.add_argument(
        "--classes",
        type=_said,
        help="number of classes of the data, or a file with one name per line",
    )
    parser.add_argument(
        "--values", metavar="NUMBERS",
        help="mask value of each class, in order, if they are not 0, 1, ...: 1-150 "
        "for ADE20K (with --ignore 0), 7,8,11-13,17,19-28,31-33 for Cityscapes' labelIds (with "
        "--ignore others)",
    )  # fmt: skip
    parser.add_argument(
        "--ignore", metavar="NUMBERS",
        help="mask values that are not classes, separated by commas (255); others: every value "
        "that is not a class; none: ignore nothing",
    )  # fmt: skip
    parser.add_argument(
        "--ids", type=_path, help="file with the ids of the images to use, one per line"
    )
    parser.add_argument(
        "--resize",
        type=_count,
        metavar="PIXELS",
        help="resize images so that the short side has this many pixels",
    )
    parser.add_argument(
        "--normalise", default="auto", metavar="HOW",
        help="imagenet, half (to [-1, 1]), none, or mean and deviation: 0.4,0.4,0.4/0.2,0.2,0.2; "
        "auto (default): as the model's publisher says, none for a model of your own",
    )  # fmt: skip
    parser.add_argument("--scale", type=_number, default=1.0, help="255 if the model takes 0..255")
    parser.add_argument(
        "--output", type=_said, help="key, attribute or index of the logits in the model's output"
    )
    parser.add_argument(
        "--divisor", type=_count, help="pad images to multiples of this many pixels"
    )
    parser.add_argument(
        "--eps", type=_radius_255, nargs="+", default=[4.0, 8.0], metavar="EPS",
        help="radii of the attack in 1/255 (4 8)",
    )  # fmt: skip
    parser.add_argument(
        "--suites", "--attack", nargs="+", default=["sea"], metavar="NAME",
        help="sea (default); sea_plus: the strongest, at the same cost; sea_fast: as strong as "
        "sea, at a sixth of its cost; also sea_eccv, losses, baselines, baselines_100, schedules, "
        "iterations, alma, blackbox",
    )  # fmt: skip
    parser.add_argument(
        "--iterations",
        type=_count,
        help="iterations of each attack instead of 300; fewer give a first look",
    )
    parser.add_argument("--images", type=_count, help="use only the first IMAGES images")
    parser.add_argument("--batch-size", type=_count, default=8, help="images at a time (8)")
    parser.add_argument(
        "--device", type=_said, help="torch device; by default a GPU if there is one"
    )


@dataclass
class _Setup:
    """What both commands begin with."""

    model: WrappedModel
    dataset: Dataset
    images: int


def _set_up(options: argparse.Namespace) -> _Setup:
    import torch

    from robustseg.attacks.inputs import check_counts
    from robustseg.evaluation.arguments import radii_of
    from robustseg.models.references import UNSAID, own_model

    limits = {"images": MOST_ITEMS, "iterations": MOST_PASSES, "batch_size": MOST_AT_ONCE}
    for name, most in {**limits, "resize": LARGEST_PX, "divisor": LARGEST_PX}.items():
        if (number := getattr(options, name)) is not None:
            check_counts(at_most=most, **{name: number})
    radii_of(options.eps)
    dataset = _open_data(options)
    said = {"load": options.model, "weights": options.weights, "scale": options.scale}
    said |= {"output": _number_or_text(options.output), "divisor": options.divisor}
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    settings = UNSAID | said | _normalisation(options.normalise)
    model = own_model(settings, dataset.num_classes, device)
    return _Setup(model, dataset, min(len(dataset), options.images or len(dataset)))


def _open_data(options: argparse.Namespace) -> Dataset:
    from robustseg.data.folder import open_folder
    from robustseg.data.published import open_published

    first = options.data[0]
    kind, _, root = first.partition(":")
    if len(options.data) == 1 and kind in ("ade20k", "voc") and root:
        idle = [name for name in ("values", "ignore", "ids") if getattr(options, name) is not None]
        if idle:
            raise RobustsegError(
                f"--{idle[0]} is for two folders; the masks of {kind} have a known meaning, and "
                "--images takes the first of its validation images"
            )
        count = None if options.classes is None else _whole("--classes", options.classes)
        return open_published(kind, root, count, options.resize)
    if len(options.data) != 2:
        raise RobustsegError(
            "--data takes a folder of images and one of masks, or ade20k:FOLDER or voc:FOLDER; "
            f"got {' '.join(options.data)}"
        )
    if options.classes is None:
        raise RobustsegError("--classes is missing: how many classes do the masks have?")
    return open_folder(
        *options.data,
        classes=_number_or_text(options.classes),
        values=options.values,
        ignore=_ignored(options.ignore),
        ids=options.ids,
        resize_px=options.resize,
    )


def _check(options: argparse.Namespace) -> None:
    """Look at a model and its data without attacking: shapes, device, mode, clean score, cost."""
    from robustseg.evaluation.check import check, passes_an_image
    from robustseg.evaluation.standard_suites import named_suites

    suites = named_suites(options.suites, options.iterations, [])
    passes_an_image(suites, options.eps)  # refuses too few iterations before a model is loaded
    setup = _set_up(options)
    lines = check(setup.model, setup.dataset, setup.images, options.batch_size, suites, options.eps)
    for line in lines:
        print(line)


def _attack(options: argparse.Namespace) -> None:
    """Attack a model inside each radius and keep the evidence, from which `report` makes tables."""
    from robustseg.attacks.warning_signs import RobustsegWarning
    from robustseg.evaluation.evaluate import evaluate

    setup = _set_up(options)
    with warnings.catch_warnings():
        warnings.simplefilter("always", RobustsegWarning)
        warnings.showwarning = _say_early
        result = evaluate(
            setup.model,
            setup.dataset,
            options.eps,
            ignore_index=None,
            folder=options.out,
            suites=options.suites,
            iterations=options.iterations,
            batch_size=options.batch_size,
            images=options.images,
            pictures=options.pictures,
            seed=options.seed,
            shard=options.shard,
            name=options.name,
            dataset=options.data[0].partition(":")[0] if len(options.data) == 1 else "data",
        )
    _remember(options)
    print(result)


def _say_early(message: Any, *_: Any, **__: Any) -> None:
    """Print a warning that comes before the attack; the others are said with its result."""
    if message.result is None:
        print(f"robustseg: warning: {message}", file=sys.stderr)


def _remember(options: argparse.Namespace) -> None:
    """Keep beside a run how its model and data are opened."""
    from robustseg.evaluation.run_folder import COMMAND, Command
    from robustseg.files import write_text

    kept = {name: getattr(options, name) for name in Command.model_fields if name != "cwd"}
    kept["cwd"] = str(Path.cwd())
    write_text(options.out / COMMAND, json.dumps(kept, indent=1, default=str) + "\n")


def _doubt(options: argparse.Namespace) -> None:
    """Look for signs that a run's figure is too high, on some of its images, and say by how much.

    Opens model, weights and data as `attack` did, from the folder that it was called in.
    """
    from robustseg.evaluation.arguments import radii_of
    from robustseg.evaluation.doubting.run import doubt
    from robustseg.evaluation.run_folder import read_records
    from robustseg.models.references import UNSAID, own_model

    run = options.folder.resolve()
    record = read_records(run)[0]
    radii = radii_of(options.eps) if options.eps else record["eps_255"]
    given = {name: getattr(options, name) for name in ("model", "weights", "data")}
    kept = _remembered(options.folder)
    kept |= {name: _from_here(value) for name, value in given.items() if value is not None}
    opened = argparse.Namespace(
        **kept,
        device=options.device,
        eps=radii,
        images=record["images"],
        iterations=None,
        batch_size=record["batch_size"],
    )
    sources = [_from_here(name) for name in options.source]
    there = Path(kept["cwd"])
    with chdir(there if there.is_dir() else Path()):
        try:
            setup = _set_up(opened)
        except RobustsegError as error:
            if str(error).startswith("the device"):
                raise
            raise RobustsegError(
                f"{options.folder} was made from {kept['model']} and {' '.join(kept['data'])} in "
                f"{kept['cwd']}, which cannot be opened: {error}. If they have moved, say where "
                "they are with --model, --weights or --data; files that --classes and --ids named "
                "must be where they were"
            ) from error
        others = {
            f"source_{number}": own_model(
                UNSAID | {"load": name, "weights": None},
                setup.dataset.num_classes,
                str(setup.model.device or "cpu"),
            )
            for number, name in enumerate(sources)
        }
        found = doubt(
            setup.model,
            setup.dataset,
            options.eps,
            folder=run,
            images=options.images,
            sources=others,
        )
    print(replace(found, folder=options.folder))


def _from_here(named: Any) -> Any:
    """Return what names files from this folder, so that it names them from any other."""
    if isinstance(named, list):
        return [_from_here(one) for one in named]
    before, colon, after = str(named).partition(":")
    if Path(str(named)).exists():
        return str(Path(str(named)).resolve())
    if Path(before).is_file():  # a folder would be one that is called as a kind is, such as ade20k
        return f"{Path(before).resolve()}{colon}{after}"
    if colon and Path(after).exists():
        return f"{before}:{Path(after).resolve()}"
    return named


def _remembered(folder: Path) -> dict[str, Any]:
    """Return the options that a run was made with."""
    from robustseg.evaluation.run_folder import COMMAND, Command
    from robustseg.sections import read_section

    path = folder / COMMAND
    if not path.exists():
        raise RobustsegError(
            f"{path} is missing: the run was made in Python or by an earlier version. Call "
            f"robustseg.doubt(model, data, folder={str(folder)!r}) with the run's model and data"
        )
    return read_section(path, Command, "repeat the command that made the run, which resumes")


def _report(options: argparse.Namespace) -> None:
    """Make the tables and the page of a run, of all its shards."""
    from robustseg.evaluation.evaluate import read_evaluation
    from robustseg.own_run import report
    from robustseg.page.submission import make_submissions

    page = report(options.folder)
    submissions = make_submissions(options.folder) if options.submit else []
    print(read_evaluation(options.folder))
    print(f"Tables: {options.folder / 'tables'}; page: {page}")
    for path in submissions:
        print(f"Submission: {path}")


def _rank(options: argparse.Namespace) -> None:
    """Rank models by worst-case accuracy, separately for each data set and radius."""
    from robustseg.page.leaderboard import make_leaderboard

    for one in make_leaderboard(options.sources, options.out):
        models = amount(len(one.entries), "model")
        images = amount(one.setting.images, "image")
        first = one.entries[0]
        doubts = f", found {first.doubts}" if first.doubts else ""
        print(f"{one.title}: {models} on {images}, first {first.label}{doubts}")
    print(f"Page: {options.out}")


def _normalisation(how: str) -> dict[str, Any]:
    """Return the settings that --normalise says: a name, or numbers."""
    from robustseg.models.references import NORMALISATIONS

    names = ("auto", "none", *NORMALISATIONS)
    if how in names:
        return {"normalise": how}
    try:
        mean, std = (tuple(map(float, part.split(","))) for part in how.split("/"))
        if not all(map(math.isfinite, mean)) or not all(0 < one < math.inf for one in std):
            raise ValueError
    except ValueError as error:
        raise RobustsegError(
            f"--normalise is {shown(how)}; choose {', '.join(names)}, or write finite means and "
            "positive deviations: 0.4,0.4,0.4/0.2,0.2,0.2"
        ) from error
    return {"mean": mean, "std": std}


def _number_or_text(text: str | None) -> Any:
    return int(text) if text and re.fullmatch("-?[0-9]+", text) else text


def _ignored(text: str | None) -> int | str | list[int] | None:
    if text is None:
        return 255
    if text in ("none", "null"):  # as configurations call it
        return None
    return text if text == "others" else [_whole("--ignore", part) for part in text.split(",")]


def _whole(option: str, text: str) -> int:
    try:
        return _count(text)
    except argparse.ArgumentTypeError as error:
        raise RobustsegError(f"{option} is {text!r}, not a whole number") from error


def _count(text: str) -> int:
    """Read a whole number; Python would take 1_000, and digits of other scripts, for one too."""
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number; write one, such as 8")
    return int(text)


def _number(text: str, advice: str = "write one, such as 0.5") -> float:
    if not NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; {advice}")
    return float(text)


def _radius_255(text: str) -> float:
    return _number(text, "radii are in 1/255, so write 8 for 8/255")


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path; name a file or folder")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Arrow, which writes evidence, takes no other names.
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8; rename it") from None
    return Path(text)


def _said(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is empty; fill it in or leave the option out")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} holds a character NUL; remove it")
    return text


def _shard(text: str) -> tuple[int, int]:
    try:
        own, parts = map(_count, text.split("/"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, for example 0/4") from None
    if not 0 <= own < parts:
        raise argparse.ArgumentTypeError(f"shards of {parts} are 0/{parts} to {parts - 1}/{parts}")
    return own, parts
