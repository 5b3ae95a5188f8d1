"""Table 10: Table 9 as mean and standard deviation over seeds of the attacks; ACC."""

from collections.abc import Iterator

from robustseg.evidence.numbers import Number, Sources, evidence_in, number
from robustseg.evidence.runs import Runs, Selection
from robustseg.evidence.wording import mean_and_spread, percent, radius
from robustseg.exhibits import ITERATIONS_SPENT
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Layout
from robustseg.tables.lines import groups_by_radius
from robustseg.tables.sea_parts import COLUMNS, NOTES, WORDS, parts_of
from robustseg.tables.table import Table


def select(runs: Runs) -> Iterator[Selection]:
    """Yield the parts of SEA of each model and radius, each with the runs of all seeds."""
    for model, eps_255 in runs.attacked():
        seeds = sorted({run.seed for run in runs.find(model=model, eps_255=eps_255)})
        if len(seeds) < 2:
            raise runs.refusal(
                f"needs at least two attack seeds of {model} at {radius(eps_255)} and reads "
                f"{seeds}; list more under its `seeds`"
            )
        by_seed = [parts_of(runs.sea(model=model, eps_255=eps_255, seed=s)) for s in seeds]
        for word in by_seed[0]:
            yield Selection(word, tuple(run for parts in by_seed for run in parts[word]))


def measure(sources: Sources, selection: Selection) -> list[Number]:
    """Return mean and standard deviation over the attack seeds of the worst case of each."""
    from robustseg.evidence.queries import score

    evidence = evidence_in(sources)
    attacked = evidence.worst_by_seed(selection.runs)
    values = tuple(percent(score(one).acc) for one in attacked)
    mean, std = mean_and_spread(values)
    images = len(attacked[0].image_ids)
    rest = {"std": std, "images": images, "by_seed": values}
    return [number(evidence, selection, "acc", mean, **rest)]


def layout(numbers: Numbers) -> Layout:
    """Lay out a line a radius, for each model."""
    return Layout(
        "Stability of SEA across different runs",
        f"ACC as in the component analysis of SEA ({numbers.iterations('sea')} iterations for each "
        f"loss): mean ± sample standard deviation over the attack seeds. {numbers.about()}",
        ("ε∞",),
        COLUMNS,
        groups_by_radius(numbers, WORDS),
        (*NOTES, *numbers.notes()),
    )


TABLE = Table(
    id="table10",
    label="Table 10",
    question=ITERATIONS_SPENT,
    shows="SEA and its parts over several seeds of the attack, as mean and standard deviation.",
    metrics=("acc",),
    select=select,
    measure=measure,
    layout=layout,
)
