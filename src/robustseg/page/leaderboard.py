"""A ranking of submissions as one self-contained page, in Markdown and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from robustseg import __version__
from robustseg.errors import RobustsegError
from robustseg.evidence.findings import SUITE, TOO_HIGH
from robustseg.evidence.reported import reported_label, reported_numbers
from robustseg.evidence.wording import MISSING, listed, printed, radius, with_interval
from robustseg.files import atomic_path, sha256, write_text
from robustseg.html_files import render
from robustseg.names import amount
from robustseg.page.doubts import SIGNS
from robustseg.page.submission import (
    FOLDER,
    Figure,
    Submission,
    as_line,
    is_of_its_run,
    read_submission,
)
from robustseg.tables.layout import Cell, Group, Layout, Row, to_html, to_markdown
from robustseg.tables.table import loss_label

TEMPLATE = Path(__file__).with_name("leaderboard.html.j2")
REPORTED = Path(__file__).parents[3] / "config" / "paper"
"""The paper's numbers, in a checkout; an installed package has none."""
PAPER_CLASSES = {"voc": 21, "ade20k": 151}
"""Classes that the paper scores, by data set: Table 3 stands beside no others."""

NOT_SEPARATED = "≈"
ELSEWHERE = f"({SIGNS[TOO_HIGH]})"
"""Marks a figure of a run that was found too high at another radius."""
NBSP = "\u00a0"
"""A space at which no line ends."""
MOST_BARS = 20
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Begin a cell of a CSV file that a spreadsheet would compute."""
MARK = "made by robustseg rank"
MARKS = {
    ".html": f'<meta name="generator" content="{MARK}">',
    ".md": f"<!-- {MARK} -->",
    ".csv": "dataset,classes,eps_255,images,images_sha256,position,source,model,ranked_percent",
}
"""Near the beginning of each file of a leaderboard, which nothing else is overwritten for."""
METRICS = ("acc", "miou")


class Setting(NamedTuple):
    """What all figures of a ranking share."""

    dataset: str
    classes: int
    eps_255: float
    images: int
    images_sha256: str


@dataclass(frozen=True)
class Entry:
    """A submission in a ranking.

    Attributes:
        path: of its file.
        of: the submission.
        compared: whether its evidence lay beside, and says the same.
        label: the model's name, with its file where another model has it too.
        too_high_at: radii in 1/255 at which another submission of its run was found overestimated,
            if nobody asked at its own.
    """

    path: Path
    of: Submission
    compared: bool
    label: str
    too_high_at: Sequence[float] = ()

    @property
    def doubts(self) -> str:
        """What a second opinion has against it, "" if nothing."""
        if self.of.overestimated:
            return "too high"
        return f"too high at {listed(map(radius, self.too_high_at))}" if self.too_high_at else ""

    @property
    def ends(self) -> tuple[float, float]:
        """Between what its accuracy lies, in percent.

        Of an overestimated figure nothing is known but what it is at most; one without an interval
        may be anything.
        """
        worst = self.of.worst.acc_percent
        if self.of.overestimated:
            return 0.0, self.of.ranked_percent
        return (0.0, 100.0) if worst.low is None or worst.high is None else (worst.low, worst.high)


@dataclass(frozen=True)
class Ranking:
    """Submissions of one setting from the best to the worst, and the paper's models beside them.

    Attributes:
        setting: what they share.
        title: data set and radius, and what else tells it from rankings of the same two.
        entries: in their order.
        together: for each whether its ends reach those of the one above, see `Entry.ends`.
        reported: by name of the paper's models, their printed numbers by (attack, metric).
    """

    setting: Setting
    title: str
    entries: Sequence[Entry]
    together: Sequence[bool]
    reported: Mapping[str, Mapping[tuple[str, str], float]]

    def position(self, place: int) -> int:
        """Return how many entries rank above the one at a place, and one: equal ones share it."""
        ranked = [one.of.ranked_percent for one in self.entries]
        return 1 + sum(one > ranked[place] for one in ranked)


def make_leaderboard(sources: Iterable[str | Path], out: str | Path) -> list[Ranking]:
    """Rank submissions by accuracy in the worst case, each setting by itself, and write the page.

    Args:
        sources: files of submissions, or folders of runs that have some.
        out: the page, `*.html`; `*.md` and `*.csv` of the same name are written beside it.

    Returns:
        The rankings, by data set, classes and radius.

    Raises:
        RobustsegError: a submission is damaged or contradicts its evidence, two are of the same
            evidence, `out` is no page's name, or one of the three files is there and no earlier
            leaderboard; it names the file.
    """
    page = Path(out)
    if page.suffix != ".html":
        raise RobustsegError(f"--out is {page}; the page's name must end in .html")
    files = {suffix: page.with_suffix(suffix) for suffix in MARKS}
    for suffix, path in files.items():
        if path.exists() and not _holds(path, MARKS[suffix]):
            raise RobustsegError(
                f"{path} would be replaced, but `robustseg rank` did not write it; give --out "
                "another name, or move the file"
            )
    rankings = rank(_files(sources))
    layouts = [_layout(one) for one in rankings]
    names = [f"ranking-{number}" for number in range(1, len(rankings) + 1)]
    text = render(
        TEMPLATE,
        rankings=[
            {
                "name": name,
                "title": one.title,
                "answer": _answer(one),
                "bars": [_bar(place, one) for place in range(len(one.entries))][:MOST_BARS],
                "table": to_html(layout, name),
                "entries": list(map(_details, one.entries)),
            }
            for name, one, layout in zip(names, rankings, layouts, strict=True)
        ],
        beside=any(one.reported for one in rankings),
        version=__version__,
        mark=MARKS[".html"],
    )
    rows = [row for one in rankings for row in _rows(one)]
    write_text(page, text)
    write_text(files[".md"], "\n".join([f"{MARKS['.md']}\n", *map(to_markdown, layouts)]))
    with (
        atomic_path(files[".csv"]) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _no_formula(value) for key, value in row.items()} for row in rows)
    return rankings


def _holds(path: Path, mark: str) -> bool:
    """Return whether a file has a mark near its beginning."""
    try:
        with path.open("rb") as file:
            return mark.encode() in file.read(500)
    except OSError:  # a folder, or not to be read
        return False


def _no_formula(value: Any) -> Any:
    """Return a cell of a CSV file, as text where a spreadsheet would compute it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def rank(paths: Sequence[Path]) -> list[Ranking]:
    """Return a ranking for each data set, radius, number of classes and set of images.

    Args:
        paths: of submissions.

    Raises:
        RobustsegError: as `make_leaderboard`.
    """
    read = {path: read_submission(path) for path in paths}
    _check_different(read)
    names = [(one.model, _setting(one)) for one in read.values()]
    made: dict[Path, list[Submission]] = {}
    hash_of = cache(sha256)
    by_setting: dict[Setting, list[Entry]] = {}
    too_high_at: dict[frozenset[str], list[float]] = {}
    for one in sorted(read.values(), key=lambda one: one.eps_255):
        if one.overestimated:
            too_high_at.setdefault(one.run, []).append(one.eps_255)
    for path, one in read.items():
        named_twice = names.count((one.model, _setting(one))) > 1
        where = as_line(str(_where(path)))
        label = f"{one.model} ({where})" if named_twice else one.model
        elsewhere = [] if one.doubt else too_high_at.get(one.run, [])
        entry = Entry(path, one, is_of_its_run(path, one, made, hash_of), label, elsewhere)
        by_setting.setdefault(_setting(one), []).append(entry)
    return [
        _ranking(setting, _title(setting, by_setting), entries)
        for setting, entries in sorted(by_setting.items())
    ]


def _files(sources: Iterable[str | Path]) -> list[Path]:
    """Return the files that are named, and those of the runs that are, each once."""
    found: dict[Path, Path] = {}
    for source in map(Path, sources):
        folder = source if source.parts[-2:] == FOLDER.parts else source / FOLDER
        inside = sorted(folder.glob("*.json")) if source.is_dir() else [source]
        if not inside:
            raise RobustsegError(
                f"{source} holds no submission; `robustseg report {source} --submit` makes those "
                "of a run"
            )
        for path in inside:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _where(path: Path) -> Path:
    """Return the run that a submission lies in, or its file where it lies in none."""
    inside = path.parts[-3:-1] == FOLDER.parts
    return path.parent.parent.parent if inside else path


def _check_different(read: Mapping[Path, Submission]) -> None:
    """Refuse two submissions of one figure, which would rank it twice."""
    seen: dict[tuple[Setting, str], Path] = {}
    for path, one in read.items():
        attacked = (file for file in one.evidence if file.job.suite != SUITE)
        hashes = " ".join(sorted(file.sha256 for file in attacked))
        earlier = seen.setdefault((_setting(one), hashes), path)
        if earlier != path:
            raise RobustsegError(f"{path} is of the same evidence as {earlier}; leave one out")


def _setting(one: Submission) -> Setting:
    return Setting(one.dataset, one.classes, one.eps_255, one.images, one.images_sha256)


def _title(setting: Setting, settings: Iterable[Setting]) -> str:
    """Return data set and radius, and what else differs between settings that share these."""
    *_, images_sha256 = setting
    like = [
        one for one in settings if (one.dataset, one.eps_255) == (setting.dataset, setting.eps_255)
    ]
    parts = [f"{setting.dataset} at {radius(setting.eps_255)}"]
    if len({one.classes for one in like}) > 1:
        parts.append(amount(setting.classes, "class", "classes"))
    if len({one.images for one in like}) > 1:
        parts.append(amount(setting.images, "image"))
    if sum(one[:4] == setting[:4] for one in like) > 1:
        parts.append(f"images {images_sha256[:8]}…")
    return ", ".join(parts)


def _ranking(setting: Setting, title: str, entries: Iterable[Entry]) -> Ranking:
    best_first = sorted(entries, key=lambda one: (-one.of.ranked_percent, one.label))
    together = [above.ends[0] <= below.ends[1] for above, below in pairwise(best_first)]
    return Ranking(setting, title, best_first, [False, *together], _reported(setting))


def _reported(setting: Setting) -> dict[str, dict[tuple[str, str], float]]:
    """Return the models of the paper's Table 3 that have a figure at the setting's radius."""
    if PAPER_CLASSES.get(setting.dataset) != setting.classes or not REPORTED.is_dir():
        return {}
    found: dict[str, dict[tuple[str, str], float]] = {}
    for (dataset, model, attack, eps_255, metric), value in reported_numbers(
        "table3", REPORTED
    ).items():
        at = (attack, eps_255)
        if dataset == setting.dataset and at in (("clean", 0.0), ("sea", setting.eps_255)):
            found.setdefault(model, {})[attack, metric] = value
    attacked = {model: figures for model, figures in found.items() if ("sea", "acc") in figures}
    return dict(sorted(attacked.items(), key=lambda one: -one[1]["sea", "acc"]))


def _layout(ranking: Ranking) -> Layout:
    setting, entries = ranking.setting, ranking.entries
    rows = tuple(_row(place, ranking) for place in range(len(entries)))
    groups = [Group("Measured" if ranking.reported else "", rows)]
    if ranking.reported:
        title = "Reported by the paper (arXiv 2306.12941, Table 3), not measured, not ranked"
        groups.append(Group(title, tuple(_paper_row(*one) for one in ranking.reported.items())))
    return Layout(
        ranking.title,
        f"{amount(setting.images, 'image')}, {amount(setting.classes, 'class', 'classes')} "
        f"(images and labels {setting.images_sha256[:8]}…). Worst case: image by image, over the "
        "attacks inside the radius, in percent; in brackets 95 % intervals over images.",
        ("Model",),
        (
            ("worst case", "ACC"),
            ("worst case", "mIoU"),
            ("can it be trusted?", "second opinion"),
            ("can it be trusted?", "evidence"),
            ("clean", "ACC"),
            ("clean", "mIoU"),
            ("attack", "suites"),
            ("attack", "passes"),
        ),
        tuple(groups),
        tuple(_notes(ranking)),
    )


def _row(place: int, ranking: Ranking) -> Row:
    entry = ranking.entries[place]
    one = entry.of
    worst = one.worst.acc_percent
    if one.overestimated:
        note = f"measured {_shown(worst)}, which the second opinion found too high"
        scores = [Cell(f"≤ {printed(one.ranked_percent)}", note=note)]
        miou = _shown(one.worst.miou_percent)
        scores.append(Cell(MISSING, note=f"measured {miou}, by the attack that was too weak"))
    else:
        scores = [Cell(_shown(worst)), Cell(_shown(one.worst.miou_percent))]
    cells = (
        *scores,
        _doubt(entry),
        Cell("compared" if entry.compared else "not there"),
        *(
            Cell(printed(clean.value), note=_shown(clean))
            for clean in (one.clean.acc_percent, one.clean.miou_percent)
        ),
        Cell(_attack(one), note=_attack_note(one)),
        Cell(f"{sum(_passes(one)):,.0f}"),
    )
    return Row((_placed(place, ranking),), cells)


def _doubt(entry: Entry) -> Cell:
    doubt = entry.of.doubt
    if doubt is None:
        at = [f"{SIGNS[TOO_HIGH]}{NBSP}at{NBSP}{radius(one)}" for one in entry.too_high_at]
        return Cell("; ".join(["not asked for", *at]))
    by = (
        f" by{NBSP}≥{NBSP}{printed(doubt.overestimated_by_points)}"
        if entry.of.overestimated
        else ""
    )
    note = (
        f"On {amount(doubt.images, 'image')} {printed(doubt.acc_percent)} % of the pixels are "
        f"right; the second opinion’s attacks leave {printed(doubt.found_percent)} %: "
        f"{doubt.verdict}"
    )
    return Cell(f"{SIGNS[doubt.rating]} {doubt.rating}{by}", note=note)


def _placed(place: int, ranking: Ranking) -> str:
    """Return position and name, with its marks between them, where no long name hides them."""
    entry = ranking.entries[place]
    marks = [NOT_SEPARATED] if ranking.together[place] else []
    marks += [SIGNS[TOO_HIGH]] if entry.of.overestimated else []
    marks += [ELSEWHERE] if entry.too_high_at else []
    marks += ["!"] if entry.of.warnings else []
    return " ".join([f"{ranking.position(place)}.", *marks, entry.label])


def _paper_row(model: str, figures: Mapping[tuple[str, str], float]) -> Row:
    found = [figures[attack, metric] for attack in ("sea", "clean") for metric in METRICS]
    acc, miou, *clean = (Cell(printed(value)) for value in found)
    missing = Cell(MISSING)
    cells = (acc, miou, missing, missing, *clean, Cell("SEA (paper)"), missing)
    return Row((f"paper: {reported_label(model)}",), cells)


def _shown(one: Figure) -> str:
    """Return a figure with its interval in print."""
    return with_interval(printed(one.value), one.low, one.high)


def _attack(one: Submission) -> str:
    attack = one.attack
    return (
        f"{listed(attack.suites)}: {len(attack.attacks)} × {listed(attack.iterations)} iterations"
    )


def _attack_note(one: Submission) -> str:
    losses = listed(map(loss_label, one.attack.losses))
    return f"{listed(one.attack.attacks)}; losses {losses}; attack seeds {listed(one.attack.seeds)}"


def _passes(one: Submission) -> tuple[float, float]:
    return one.attack.passes_an_image.forward, one.attack.passes_an_image.backward


def _notes(ranking: Ranking) -> Iterable[str]:
    """Yield what must be said of a ranking."""
    entries = ranking.entries
    if any(ranking.together):
        yield (
            f"{NOT_SEPARATED}: not separated from the model above: their intervals overlap, or "
            "one has none, so other images could swap the two."
        )
    for entry in entries:
        doubt = entry.of.doubt
        if doubt and entry.of.overestimated:
            measured = _shown(entry.of.worst.acc_percent)
            yield (
                f"{SIGNS[doubt.rating]} {entry.label}: measured {measured}, {doubt.verdict} on "
                f"{amount(doubt.images, 'image')}, where {printed(doubt.found_percent)} are left; "
                f"it ranks at {printed(entry.of.ranked_percent)}, an upper bound without an "
                "interval. No mIoU is shown: the second opinion counts only ACC."
            )
        if entry.too_high_at:
            at = listed(map(radius, entry.too_high_at))
            yield (
                f"{ELSEWHERE} {entry.label}: nobody asked for a second opinion at this radius; at "
                f"{at} one found the figure of the same run too high, and this one may be as wrong."
            )
    if len({_attack_note(entry.of) for entry in entries}) > 1:
        yield "The attacks differ: a weaker attack leaves more, and says less."
    warned: dict[str, list[str]] = {}
    for entry in entries:
        for sentence in entry.of.warnings:
            warned.setdefault(sentence, []).append(entry.label)
    for sentence, labels in warned.items():
        yield f"! {listed(labels)}: {sentence}."
    if any(not entry.compared for entry in entries):
        yield (
            "Evidence “not there”: the figures are as the file says. With evidence beside the "
            "file, they were computed from it again and agree."
        )
    if ranking.reported:
        yield (
            "“paper”: printed in arXiv 2306.12941, not measured here: on the paper’s images, by "
            "SEA of four losses with 300 iterations each."
        )


def _answer(ranking: Ranking) -> str:
    """Return what the page says first of a ranking: who leads, with what, and how surely."""
    first = ranking.entries[0]
    figure = first.of.worst.acc_percent
    models = len(ranking.entries)
    leaders = [one for place, one in enumerate(ranking.entries) if ranking.position(place) == 1]
    if len(leaders) > 1:
        others = amount(len(leaders) - 1, "other")
        at_most = "at most " if any(one.of.overestimated for one in leaders) else ""
        keep = f"keep {at_most}{printed(first.of.ranked_percent)} %"
        return f"{first.label} and {others} {keep}, the most of {models} models"
    if first.of.overestimated:
        keeps = f"at most {printed(first.of.ranked_percent)} %"
    else:
        keeps = with_interval(f"{printed(figure.value)} %", figure.low, figure.high)
    parts = [f"{first.label} keeps {keeps}"]
    if models > 1:
        parts.append(f"the most of {models} models")
        parts += ["not separated from the second"] if ranking.together[1] else []
    else:
        parts.append("the only model here")
    parts += [f"found {first.doubts}"] if first.doubts else []
    return ", ".join(parts)


def _bar(place: int, ranking: Ranking) -> dict[str, Any]:
    entry = ranking.entries[place]
    ranked = entry.of.ranked_percent
    at_most = "≤ " if entry.of.overestimated else ""
    return {
        "doubted": bool(entry.doubts),
        "name": _placed(place, ranking),
        "share": f"{ranked:.1f}",
        "value": f"{at_most}{printed(ranked)}",
    }


def _details(entry: Entry) -> dict[str, Any]:
    """Return where a figure is from, as lines of a listing."""
    one = entry.of
    said = [
        ("file", as_line(str(entry.path))),
        ("architecture", one.architecture),
        ("attacks", _attack_note(one)),
        *((key, ", ".join(values)) for key, values in one.provenance.items()),
        *((file.path, f"SHA-256 {file.sha256}") for file in one.evidence),
    ]
    return {"label": entry.label, "lines": [{"What": key, "Value": value} for key, value in said]}


def _rows(ranking: Ranking) -> Iterable[dict[str, Any]]:
    """Yield the lines of the CSV file; percentages are not rounded."""
    shared = ranking.setting._asdict()
    for place, entry in enumerate(ranking.entries):
        one, doubt = entry.of, entry.of.doubt
        yield {
            **shared,
            "position": ranking.position(place),
            "source": "measured",
            "model": one.model,
            "ranked_percent": one.ranked_percent,
            "separated_from_above": not ranking.together[place] if place else "",
            **_columns("worst_case_acc", one.worst.acc_percent),
            **_columns("worst_case_miou", one.worst.miou_percent),
            **_columns("clean_acc", one.clean.acc_percent),
            **_columns("clean_miou", one.clean.miou_percent),
            "suites": " ".join(one.attack.suites),
            "iterations": " ".join(map(str, one.attack.iterations)),
            "passes_an_image": sum(_passes(one)),
            "second_opinion": doubt.rating if doubt else "",
            "overestimated_by_points": doubt.overestimated_by_points if doubt else "",
            "too_high_at_255": " ".join(f"{eps_255:g}" for eps_255 in entry.too_high_at),
            "evidence_compared": entry.compared,
            "file": as_line(str(entry.path)),
        }
    for model, figures in ranking.reported.items():
        named = {"sea": "worst_case", "clean": "clean"}
        yield {
            **shared,
            "images": "",
            "images_sha256": "",
            "source": "reported by the paper",
            "model": model,
            **{
                f"{named[attack]}_{metric}_percent": value
                for (attack, metric), value in figures.items()
            },
        }


def _columns(name: str, one: Figure) -> dict[str, float | None]:
    return {f"{name}_percent": one.value, f"{name}_low": one.low, f"{name}_high": one.high}
