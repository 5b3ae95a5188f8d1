"""The table `logit_scales`: losses on logits scaled to several margins; not in the paper."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from robustseg.attacks.losses import LOSSES
from robustseg.attacks.spec import CHOICES, DEFAULT_CHOICE, OPTIMIZERS, SCHEDULES, TRANSFER, Member
from robustseg.evidence.attack_sets import check_seeds
from robustseg.evidence.numbers import Number, Sources, evidence_in, mean_number
from robustseg.evidence.runs import Run, Runs, Selection
from robustseg.evidence.wording import MISSING, member_label, radius
from robustseg.exhibits import LOSSES_NEEDED
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Cell, Group, Layout, Row
from robustseg.tables.table import Table, best, cell

WORST = "worst"


class Setting(NamedTuple):
    """What attacks that are compared have in common."""

    optimizer: str
    schedule: str
    iterations: int
    choice: str

    @classmethod
    def of(cls, run: Run) -> "Setting":
        """Return the setting of a run."""
        return cls(run.optimizer, run.schedule, run.iterations, run.choice)

    @property
    def label(self) -> str:
        """The setting in print."""
        choice = "" if self.choice == DEFAULT_CHOICE else f", {CHOICES[self.choice]}"
        return (
            f"{self.optimizer.upper()}, {SCHEDULES[self.schedule].label}, "
            f"{self.iterations} iterations{choice}"
        )


def _line(run: Run) -> Member:
    """Return what stands in one line: a loss, whatever the scale."""
    return run.member._replace(margin=None)


def select(runs: Runs) -> Iterator[Selection]:
    """Yield at each radius each attack of a setting in which a loss was run at several margins.

    After them, at each margin, the worst case over the losses that were run at all of them; the
    clean image is a candidate, the last of equals. Seeds of one attack stand together.
    """
    for model in runs.models():
        for eps_255 in runs.bounded_radii(model):
            check_seeds(runs, model, eps_255)
            found = [
                run
                for run in runs.find(model=model, eps_255=eps_255, optimizer=OPTIMIZERS)
                if not run.attack.startswith(TRANSFER)
            ]
            scales: dict[tuple[Setting, Member], set[float]] = {}
            for run in found:
                scales.setdefault((Setting.of(run), _line(run)), set()).add(run.logit_margin)
            compared = sorted({setting for (setting, _), some in scales.items() if len(some) > 1})
            if not compared:
                raise runs.refusal(
                    "needs a loss with one schedule and number of iterations on logits of two "
                    f"scales on {model} at {radius(eps_255)}; name js and js@10, for example"
                )
            for setting in compared:
                chosen = [run for run in found if Setting.of(run) == setting]
                yield from _of_setting(chosen, runs.clean(model))


def _of_setting(found: Sequence[Run], clean: Run) -> Iterator[Selection]:
    losses = list(LOSSES)
    in_order = sorted(found, key=lambda run: (losses.index(run.loss), run.member.q_range))
    for attack in dict.fromkeys(run.attack for run in in_order):
        yield Selection(attack, tuple(run for run in found if run.attack == attack))
    at_margin = {
        margin: {_line(run) for run in found if run.logit_margin == margin}
        for margin in sorted({run.logit_margin for run in found})
    }
    common = set.intersection(*at_margin.values())
    word = "-".join(map(str, Setting.of(found[0])))
    for margin in at_margin if common else ():
        worst = (run for run in found if run.logit_margin == margin and _line(run) in common)
        yield Selection(f"{WORST}@{margin:g}-{word}", (*worst, clean))


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return ACC, the mean over attack seeds."""
    from robustseg.evidence.queries import mean_image_accuracy

    evidence = evidence_in(sources)
    accuracy = mean_image_accuracy(evidence.worst_by_seed(selection.runs))
    return [mean_number(evidence, selection, "acc", accuracy)]


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a loss for each model, radius and setting, the lowest of a line in bold."""
    margins = sorted({one.runs[0].logit_margin for one in numbers.entries})
    groups = []
    for model in numbers.models:
        for eps_255 in numbers.radii(model):
            at = numbers.find(model=model, eps_255=eps_255)
            for setting in dict.fromkeys(Setting.of(one.runs[0]) for one in at):
                found = [one for one in at if Setting.of(one.runs[0]) == setting]
                title = f"{numbers.title(model)}, {radius(eps_255)}: {setting.label}"
                groups.append(Group(title, tuple(_rows(numbers, found, margins))))
    heads = (f"margin {margin:g}" if margin else "as they are" for margin in margins)
    return Layout(
        "ACC by the scale of the logits",
        "ACC under attacks that differ in the scale of the logits alone: as they are, or scaled "
        "so that the mean over the labelled pixels of the clean image of the largest logit minus "
        "the second largest is the margin above the column. Bold: the strongest of a line. Worst "
        "case: image-wise, over the losses that were run at each of these scales and the clean "
        f"image. Means over attack seeds. {numbers.about()}",
        ("Loss",),
        tuple(("logits", head) for head in heads),
        tuple(groups),
        numbers.notes(),
    )


def _rows(numbers: Numbers, found: Sequence[Number], margins: Sequence[float]) -> Iterator[Row]:
    """Yield a line a loss, and one of their worst case."""
    lines: dict[str, dict[float, Number]] = {}
    for one in found:
        first = one.runs[0]
        worst = one.attack.startswith(WORST)
        name = "worst case" if worst else member_label(_line(first))
        lines.setdefault(name, {})[first.logit_margin] = one
    for name, by_margin in lines.items():
        there = [margin for margin in margins if margin in by_margin]
        cells = [cell(numbers, by_margin[margin]) for margin in there]
        shown = dict(zip(there, best(cells) if len(cells) > 1 else cells, strict=True))
        yield Row((name,), tuple(shown.get(margin, Cell(MISSING)) for margin in margins))


TABLE = Table(
    id="logit_scales",
    label="Scale of the logits",
    question=LOSSES_NEEDED,
    shows="Each loss on logits as they are and scaled to larger margins, and the worst case over "
    "losses at each scale.",
    metrics=("acc",),
    select=select,
    measure=measure,
    layout=layout,
    in_paper=False,
)
