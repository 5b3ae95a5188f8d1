"""The table `each_attack`: every attack that it reads, and their worst case; not in the paper."""

from collections.abc import Iterator

from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import radius
from robustseg.exhibits import LOSSES_NEEDED
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.table import Table, best, cells, clean_scores, columns


def select(runs: Runs) -> Iterator[Selection]:
    """Yield each model without an attack, then at each radius each attack and the worst of all."""
    for model in runs.models():
        if not runs.radii(model):
            raise runs.refusal(f"reads no attack on {model}; name a suite that attacks it")
        clean = runs.clean(model)
        yield Selection("clean", (clean,))
        for eps_255 in runs.radii(model):
            found = runs.find(model=model, eps_255=eps_255)
            several = len({run.seed for run in found}) > 1
            for run in found:
                seed = f", attack seed {run.seed}" if several else ""
                yield Selection(f"{run.suite}: {run.attack}{seed}", (run,))
            yield Selection("worst", (*found, clean))


def layout(numbers: Numbers) -> Layout:
    """Lay out a line an attack for each model and radius, the strongest in bold."""
    groups = []
    for model in numbers.models:
        for eps_255 in numbers.radii(model):
            found = (one.attack for one in numbers.find(model=model, eps_255=eps_255))
            attacks = [attack for attack in dict.fromkeys(found) if attack != "worst"]
            shown = best([c for a in attacks for c in cells(numbers, model, a, eps_255)], 2)
            lines = [
                Row((attack,), tuple(shown[2 * place : 2 * place + 2]))
                for place, attack in enumerate(attacks)
            ]
            lines.append(Row(("worst case",), tuple(cells(numbers, model, "worst", eps_255))))
            title = f"{numbers.title(model)}, {radius(eps_255)} {clean_scores(numbers, model)}"
            groups.append(Group(title, tuple(lines)))
    return Layout(
        "Each attack by itself",
        "Every attack of the suites that the configuration names here, and their image-wise worst "
        f"case by ACC; bold: the strongest single attack. {numbers.about()}",
        ("Suite: attack",),
        columns(numbers, [()]),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="each_attack",
    label="Each attack",
    question=LOSSES_NEEDED,
    shows="Every attack that a configuration lets it read, and their image-wise worst case: the "
    "table for losses and attacks that the paper does not have.",
    select=select,
    layout=layout,
    in_paper=False,
)
