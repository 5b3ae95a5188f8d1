"""Table 11: attacks carried over from other models, and white-box SEA."""

from collections.abc import Iterator

from robustseg.attacks.losses import LOSSES
from robustseg.attacks.spec import SCHEDULES, TRANSFER
from robustseg.evidence.runs import Run, Runs, Selection
from robustseg.evidence.wording import listed, radius, scheme
from robustseg.exhibits import EXISTING_ATTACKS
from robustseg.numbers_shown import Numbers
from robustseg.tables.layout import Group, Layout, Row
from robustseg.tables.table import Table, cells, columns


def select(runs: Runs) -> Iterator[Selection]:
    """Yield the transfer from each source, then SEA on the target, each after its clean score."""
    for target in runs.models():
        moved = [run for run in runs.find(model=target) if _is_moved(run)]
        if not moved:
            raise runs.refusal(f"reads no transfer to {target}; name a suite of kind transfer")
        for source in _sources(runs, moved):
            word = f"transfer_{runs.settings[source]['scheme']}"
            yield Selection(word, (runs.clean(target),))
            for eps_255 in runs.radii(target):
                found = (r for r in moved if r.eps_255 == eps_255 and _source(r) == source)
                yield Selection(word, tuple(found))
        suites = tuple({run.suite for run in runs.find(model=target)} - {r.suite for r in moved})
        yield Selection("sea", (runs.clean(target),))
        for eps_255 in runs.radii(target):
            yield Selection("sea", runs.sea(model=target, eps_255=eps_255, suite=suites))


def _is_moved(run: Run) -> bool:
    return run.attack.startswith(TRANSFER)


def _source(run: Run) -> str:
    return run.attack.removeprefix(TRANSFER).split("-")[0]


def _sources(runs: Runs, moved: list[Run]) -> list[str]:
    """Return the sources, in the order of the configuration's models."""
    found = {_source(run): run.attack for run in moved}
    for source, attack in found.items():
        if source not in runs.settings:
            raise runs.refusal(
                f"was given evidence of {attack}, whose source {source} is not a model of this "
                "configuration; use the evidence of this run"
            )
    sources = [model for model in runs.settings if model in found]
    if len({runs.settings[source]["scheme"] for source in sources}) < len(sources):
        raise runs.refusal(
            "has one line for each training scheme and reads two sources of one: "
            f"{', '.join(sources)}; name one of them in the suite"
        )
    return sources


def layout(numbers: Numbers) -> Layout:
    """Lay out a line an attack, for each target."""
    radii = [0.0, *numbers.radii()]
    settings = {**numbers.models, **numbers.others}
    groups = []
    for target in dict.fromkeys(one.model for one in numbers.entries):
        lines = []
        for word in dict.fromkeys(one.attack for one in numbers.find(model=target)):
            attacks = [
                run
                for one in numbers.find(word, model=target)
                for run in one.runs
                if run.iterations
            ]
            moved = _is_moved(attacks[0])
            losses = " and ".join(dict.fromkeys(LOSSES[run.loss].label for run in attacks))
            stub = (
                f"APGD w/ {losses}" if moved else "SEA (white-box)",
                scheme(settings[_source(attacks[0]) if moved else target]),
                scheme(settings[target]),
            )
            shown = [c for eps_255 in radii for c in cells(numbers, target, word, eps_255)]
            lines.append(Row(stub, tuple(shown)))
        groups.append(Group(numbers.title(target), tuple(lines)))
    used = [run for one in numbers.entries for run in one.runs if _is_moved(run)]
    what = sorted({f"{SCHEDULES[r.schedule].label} APGD on {LOSSES[r.loss].label}" for r in used})
    budgets = listed(sorted({run.iterations for run in used})).replace(", ", "/")
    return Layout(
        "Transfer attacks",
        f"Perturbations found on the source by {' and '.join(what)} "
        f"({budgets} iterations) and counted on the target, beside SEA on the target "
        f"itself. {numbers.about()}",
        ("Attack", "Source", "Target"),
        columns(numbers, [(radius(eps_255),) for eps_255 in radii]),
        tuple(groups),
        numbers.notes(),
    )


TABLE = Table(
    id="table11",
    label="Table 11",
    question=EXISTING_ATTACKS,
    shows="Perturbations found on other models and counted on this one, beside SEA on the model "
    "itself.",
    select=select,
    layout=layout,
)
