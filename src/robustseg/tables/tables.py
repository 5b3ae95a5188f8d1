"""The paper's tables (arXiv 2306.12941) from evidence, laid out as it lays them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from robustseg.errors import RobustsegError
from robustseg.evidence.book import (
    METRICS,
    Book,
    Models,
    Reads,
    iterations,
    merged_provenance,
    open_book,
    percent,
    printed,
    radius,
)
from robustseg.evidence.queries import Run, score
from robustseg.files import atomic_path
from robustseg.names import LOSS_LABELS, LOSSES, SCHEME_LABELS, SEA_LOSSES
from robustseg.page.sections import label_of
from robustseg.tables.ablation_training import ablation_training
from robustseg.tables.appendix_tables import appendix_c3, table6, table11
from robustseg.tables.latex import to_latex
from robustseg.tables.layout import (
    MISSING,
    Cell,
    Group,
    Layout,
    Row,
    to_html,
    to_markdown,
    with_reported,
)
from robustseg.tables.leak import leak_table
from robustseg.tables.seeds import seeds_table
from robustseg.tables.table5 import table5

if TYPE_CHECKING:
    import pandas as pd

SUBSETS = {
    "A": ("mask_ce", "bal_ce", "js"),
    "B": ("mask_ce", "bal_ce", "mask_sph"),
    "C": ("mask_ce", "js", "mask_sph"),
}
"""Three of SEA's four losses, as in Tables 9 and 10."""


def make_table(
    table_id: str,
    evidence_paths: Iterable[str | Path],
    reads: Reads,
    models: Models,
    out_paths: Mapping[str, str | Path],
    reported_folder: str | Path | None = None,
    recipes: Mapping[str, Mapping[str, Any]] | None = None,
    manifests: Mapping[str, str | Path] | None = None,
) -> None:
    """Build one table from evidence and write it in every format asked for.

    Args:
        table_id: one of TABLES.
        evidence_paths: evidence of all attacks that `reads` names and of the clean evaluations.
        reads: the table's list in the configuration: mappings with model, suites, eps_255 and,
            optionally, seeds (of the attack; [0] by default).
        models: the configuration's models; `architecture` of its backbone, where given, is printed
            instead of the backbone's name.
        out_paths: files by format: any of parquet, csv, md, tex, html (a fragment for the page).
        reported_folder: the paper's numbers, config/paper; shown below measured ones where data set
            and model are the paper's.
        recipes: only for table5, which shows the configuration and reads no evidence.
        manifests: only for leak, the manifests of its data sets.

    Raises:
        RobustsegError: evidence is missing, incomplete or damaged; the sentence says which.
    """
    paths = sorted(map(str, evidence_paths))
    if table_id == "table5":
        layout, numbers = table5(recipes or {})
    else:
        book = open_book(table_id, paths, reads, models, reported_folder)
        layout = leak_table(book, manifests or {}) if table_id == "leak" else TABLES[table_id](book)
        numbers = book.frame()
    # The paper does not have these.
    label = "" if table_id in ("seeds", "leak") else label_of(table_id)
    layout = with_reported(replace(layout, label=label))
    texts = {
        "md": lambda: to_markdown(layout),
        "tex": lambda: to_latex(layout, table_id),
        "html": lambda: to_html(layout, table_id),
        "csv": lambda: numbers.to_csv(index=False, lineterminator="\n"),
    }
    for kind, path in out_paths.items():
        if kind == "parquet":
            _write_parquet(numbers, layout, paths, path)
            continue
        with atomic_path(path) as temporary:
            temporary.write_text(texts[kind](), encoding="utf-8")


def _write_parquet(
    numbers: pd.DataFrame, layout: Layout, evidence_paths: Sequence[str], path: str | Path
) -> None:
    """Write the long form, with its caption and the evidence it comes from in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made_from = {
        key: ", ".join(values) for key, values in merged_provenance(evidence_paths).items()
    }
    about = {"caption": layout.caption, "evidence": "\n".join(evidence_paths)}
    table = pa.Table.from_pandas(numbers, preserve_index=False)
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(made_from | about), temporary)


def table1(book: Book) -> Layout:
    """Table 1: SegPGD and CosPGD against Mask-CE and the ensemble SEA."""
    used: dict[str, list[Run]] = {word: [] for word in ("cospgd", "segpgd", "mask_ce", "sea")}
    groups = []
    for model in book.read_models():
        lines = []
        for eps_255 in book.radii(model):
            at = {"model": model, "eps_255": eps_255}
            sea = book.sea(**at)
            attacks = {
                "cospgd": [book.evidence.one(loss="cossim_ce", optimizer="pgd", **at)],
                "segpgd": [book.evidence.one(loss="bal_ce", optimizer="pgd", **at)],
                "mask_ce": [run for run in sea if run.loss == "mask_ce"],
                "sea": sea,
            }
            for word, runs in attacks.items():
                used[word] += runs
            cells = [cell for word, runs in attacks.items() for cell in book.cells(word, runs)]
            lines.append(Row((radius(eps_255),), tuple(cells)))
        groups.append(Group(book.title(model), tuple(lines)))
    heads = [
        f"CosPGD ({iterations(used['cospgd'])} iter.)",
        f"SegPGD ({iterations(used['segpgd'])} iter.)",
        f"Mask-CE ({iterations(used['mask_ce'])} iter.)",
        f"SEA ({len(SEA_LOSSES)} × {iterations(used['sea'])} iter.)",
    ]
    works = ["Previous SOTA attacks"] * 2 + ["SEA and its parts"] * 2
    return Layout(
        "Comparison of existing attacks to the ensemble attack SEA",
        "SegPGD and CosPGD are PGD on the Bal-CE and CosSim-CE loss; Mask-CE and SEA are red-ε "
        f"APGD on one and on four losses, SEA their image-wise worst case. {book.about()}",
        ("ε∞",),
        _columns(list(zip(works, heads, strict=True))),
        tuple(groups),
        book.notes(),
    )


def table2(book: Book) -> Layout:
    """Table 2: the six losses with APGD at constant radius, and their worst case."""
    prior, proposed = ("ce", "bal_ce", "cossim_ce"), ("js", "mask_ce", "mask_sph")
    groups, used = [], []
    for model in book.read_models():
        acc, miou = book.clean(model)
        lines = []
        for eps_255 in book.radii(model):
            runs = _constant_runs(book, prior + proposed, model=model, eps_255=eps_255)
            used += runs
            cells = [c for run in runs for c in book.cells(run.loss, [run])]
            worst = book.cells("worst", runs)
            lines.append(Row((radius(eps_255),), (*_best(cells, METRICS), *worst)))
        title = f"{book.title(model)} (clean: ACC {acc.text}, mIoU {miou.text})"
        groups.append(Group(title, tuple(lines)))
    return Layout(
        "Attack performance of different losses",
        f"Each loss is optimized with APGD at constant radius for {iterations(used)} iterations. "
        "The worst case over losses is taken image by image; bold: the best single loss. "
        f"{book.about()}",
        ("ε∞",),
        _columns(
            [
                *(("losses used in prior works", LOSS_LABELS[loss]) for loss in prior),
                *(("proposed losses", LOSS_LABELS[loss]) for loss in proposed),
                ("image-wise", "worst case over losses"),
            ]
        ),
        tuple(groups),
        book.notes(),
    )


def table3(book: Book) -> Layout:
    """Table 3: all models under SEA, by data set."""
    radii = _all_radii(book)
    groups = {
        key: [
            Row(
                (
                    SCHEME_LABELS[book.models[model]["scheme"]],
                    _initialisation(book, model),
                    _steps(book, model),
                    book.architecture(model),
                ),
                _sea_cells(book, model, radii),
            )
            for model in models
        ]
        for key, models in _grouped(book, lambda model: _dataset_title(book, model)).items()
    }
    return Layout(
        "Evaluation of models with SEA",
        "Training scheme, initialization of the backbone, attack steps in training, architecture; "
        f"ACC and mIoU without an attack (0) and under SEA ({_sea_budget(book)}). {book.about()}",
        ("Training", "Init.", "Steps", "Architecture"),
        _columns([(radius(eps),) for eps in radii]),
        tuple(Group(title, tuple(rows)) for title, rows in groups.items()),
        book.notes(),
    )


def table4(book: Book) -> Layout:
    """Table 4: AT against PIR-AT by attack steps and epochs."""
    radii = _all_radii(book)
    titles = _grouped(book, lambda m: f"{book.models[m]['dataset']}, {book.architecture(m)}")
    groups = [
        Group(
            title,
            tuple(
                Row(
                    (
                        SCHEME_LABELS[book.models[model]["scheme"]],
                        _initialisation(book, model),
                        _steps(book, model),
                        str(book.models[model]["epochs"]),
                    ),
                    _sea_cells(book, model, radii),
                )
                for model in models
            ),
        )
        for title, models in titles.items()
    ]
    return Layout(
        "Ablation study of AT and PIR-AT",
        "Attack steps and epochs of training; ACC and mIoU without an attack (0) and under SEA "
        f"({_sea_budget(book)}). {book.about()}",
        ("Training Scheme", "Init.", "Steps", "Ep."),
        _columns([(radius(eps),) for eps in radii]),
        tuple(groups),
        book.notes(),
    )


def table7(book: Book) -> Layout:
    """Table 7: PGD against APGD on the losses of SegPGD and CosPGD."""
    groups, used = [], []
    for model in book.read_models():
        lines = []
        for eps_255 in book.radii(model):
            cells: list[Cell] = []
            for loss, name in (("bal_ce", "seg"), ("cossim_ce", "cos")):
                at = {"model": model, "eps_255": eps_255, "loss": loss}
                pgd = book.evidence.one(optimizer="pgd", **at)
                apgd = book.evidence.one(optimizer="apgd", schedule="constant", **at)
                _check_same_budget(book, pgd, apgd)
                used += [pgd, apgd]
                cells += [*book.cells(f"{name}pgd", [pgd]), *book.cells(f"{name}apgd", [apgd])]
            lines.append(Row((radius(eps_255),), tuple(cells)))
        groups.append(Group(book.title(model), tuple(lines)))
    return Layout(
        "APGD and PGD on the losses of two existing attacks",
        f"PGD returns the iterate of highest loss; {iterations(used)} iterations each. "
        f"{book.about()}",
        ("ε∞",),
        _columns(
            [
                (LOSS_LABELS[loss], f"{name}{optimizer}")
                for loss, name in (("bal_ce", "Seg"), ("cossim_ce", "Cos"))
                for optimizer in ("PGD", "APGD")
            ]
        ),
        tuple(groups),
        book.notes(),
    )


def table8(book: Book) -> Layout:
    """Table 8: worst case over all six losses and over SEA's four."""
    models = book.read_models()
    places = max(len(book.radii(model)) for model in models)
    groups, used = [], []
    for model in models:
        radii = book.radii(model)
        lines = []
        for word, losses in (("all_losses", LOSSES), ("four_losses", SEA_LOSSES)):
            cells: list[Cell] = []
            for eps_255 in radii:
                runs = _constant_runs(book, losses, model=model, eps_255=eps_255)
                used += runs
                cells += book.cells(word, runs)
            cells += [Cell("")] * (2 * (places - len(radii)))
            lines.append(Row((word.replace("_", " "),), tuple(cells)))
        heads = [radius(eps) for eps in radii for _ in METRICS]
        heads += [""] * (2 * places - len(heads))
        groups.append(
            Group(
                f"model: {book.data_set(model)}{book.training(model)}", tuple(lines), tuple(heads)
            )
        )
    return Layout(
        "Loss selection for SEA",
        "Image-wise worst case over all six losses, APGD at constant radius for "
        f"{iterations(used)} iterations, and over the four losses of SEA alone. {book.about()}",
        ("Subset",),
        tuple((metric,) for _ in range(places) for metric in METRICS),
        tuple(groups),
        book.notes(),
    )


def table9(book: Book) -> Layout:
    """Table 9: each loss of SEA, three of four, and all; ACC."""
    book.metrics = ("acc",)
    groups = []
    for model in book.read_models():
        lines = []
        for eps_255 in book.radii(model):
            sea = book.sea(model=model, eps_255=eps_255)
            cells = [book.cells(word, runs)[0] for word, runs in _components(sea).items()]
            single, subsets = cells[: len(sea)], cells[len(sea) : -1]
            lines.append(Row((radius(eps_255),), (*_best(single), *_best(subsets), cells[-1])))
        groups.append(Group(book.title(model), tuple(lines)))
    return Layout(
        "Component analysis for SEA",
        f"ACC under red-ε APGD with each loss of SEA ({_sea_budget(book)}) and under the "
        f"image-wise worst case over three of them and over all. Bold: the best single loss and "
        f"the best subset. {book.about()}",
        ("ε∞",),
        _component_columns(),
        tuple(groups),
        (*_subset_notes(), *book.notes()),
    )


def table10(book: Book) -> Layout:
    """Table 10: Table 9 as mean and standard deviation over seeds of the attacks; ACC."""
    book.metrics = ("acc",)
    groups = []
    for model in book.read_models():
        lines = []
        for eps_255 in book.radii(model):
            found = book.evidence.find(model=model, eps_255=eps_255)
            seeds = sorted({run.seed for run in found})
            if len(seeds) < 2:
                raise RobustsegError(
                    f"{book.name} needs at least two attack seeds of {model} at {radius(eps_255)} "
                    f"and reads {seeds}; list more under its `seeds`"
                )
            runs = [book.sea(model=model, eps_255=eps_255, seed=seed) for seed in seeds]
            parts = [_components(sea) for sea in runs]
            cells = [_spread_cell(book, word, [part[word] for part in parts]) for word in parts[0]]
            lines.append(Row((radius(eps_255),), tuple(cells)))
        groups.append(Group(book.title(model), tuple(lines)))
    return Layout(
        "Stability of SEA across different runs",
        f"ACC as in the component analysis of SEA ({_sea_budget(book)}): mean ± sample standard "
        f"deviation over the attack seeds. {book.about()}",
        ("ε∞",),
        _component_columns(),
        tuple(groups),
        (*_subset_notes(), *book.notes()),
    )


def _spread_cell(book: Book, word: str, runs_by_seed: Sequence[Sequence[Run]]) -> Cell:
    """Record and return mean and standard deviation of ACC over seeds."""
    attacked = [book.worst(runs) for runs in runs_by_seed]
    values = [percent(score(one).acc) for one in attacked]
    # ASSUME: the sample standard deviation (n - 1); the paper does not say which.
    mean, std = fmean(values), stdev(values)
    book.record(word, runs_by_seed[0], "acc", mean, std=std, images=len(attacked[0].image_ids))
    note = [f"by seed: {', '.join(map(printed, values))}"]
    note += book.behind([run for runs in runs_by_seed for run in runs])
    return Cell(
        f"{printed(mean)} ± {printed(std)}",
        note="\n".join(note),
        reported=book.paper_says(word, runs_by_seed[0][0], "acc"),
    )


def _components(sea: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs behind each of Table 9's columns: single losses, subsets of three, all."""
    singles = {run.loss: [run] for run in sea}
    subsets = {name: [run for run in sea if run.loss in losses] for name, losses in SUBSETS.items()}
    return singles | subsets | {"sea": list(sea)}


def _component_columns() -> tuple[tuple[str, ...], ...]:
    return (
        *(("individual losses", LOSS_LABELS[loss]) for loss in SEA_LOSSES),
        *(("subsets of three losses", name) for name in SUBSETS),
        ("all", "SEA"),
    )


def _subset_notes() -> tuple[str, ...]:
    return tuple(
        f"{name}: {' ∪ '.join(LOSS_LABELS[loss] for loss in losses)}"
        for name, losses in SUBSETS.items()
    )


def _columns(heads: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return a column for ACC and one for mIoU below each head."""
    return tuple((*head, metric) for head in heads for metric in METRICS)


def _constant_runs(book: Book, losses: Sequence[str], **at: Any) -> list[Run]:
    return [
        book.evidence.one(loss=loss, optimizer="apgd", schedule="constant", **at) for loss in losses
    ]


def _check_same_budget(book: Book, pgd: Run, apgd: Run) -> None:
    if pgd.iterations != apgd.iterations:
        raise RobustsegError(
            f"{book.name} compares {pgd.attack} ({pgd.iterations} iterations) with {apgd.attack} "
            f"({apgd.iterations}); give both suites the same iterations in the configuration"
        )


def _best(cells: Sequence[Cell], metrics: Sequence[str] = ("ACC",)) -> list[Cell]:
    """Return the cells with the lowest printed value of each metric in bold, ties included."""
    # ASSUME: bold as the captions of Tables 2 and 9 suggest; the text version carries no bold.
    step = len(metrics)
    lowest = [min(float(cell.text) for cell in cells[offset::step]) for offset in range(step)]
    return [
        replace(cell, bold=float(cell.text) == lowest[index % step])
        for index, cell in enumerate(cells)
    ]


def _sea_cells(book: Book, model: str, radii: Sequence[float]) -> tuple[Cell, ...]:
    """Return ACC and mIoU under SEA at each radius (0: clean), a dash where not asked for."""
    cells: list[Cell] = []
    attacked = book.radii(model)
    for eps_255 in radii:
        if not eps_255:
            cells += book.clean(model)
        elif eps_255 in attacked:
            cells += book.cells("sea", book.sea(model=model, eps_255=eps_255))
        else:
            cells += [Cell(MISSING)] * len(METRICS)
    return tuple(cells)


def _all_radii(book: Book) -> list[float]:
    return sorted({run.eps_255 for run in book.evidence.runs})


def _grouped(book: Book, key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for model in book.read_models():
        groups.setdefault(key(model), []).append(model)
    return groups


def _dataset_title(book: Book, model: str) -> str:
    settings = book.models[model]
    return f"{settings['dataset']}: {settings['epochs']} epochs"


def _initialisation(book: Book, model: str) -> str:
    return "robust" if book.models[model]["scheme"] == "pir_at" else "clean"


def _steps(book: Book, model: str) -> str:
    return str(book.models[model].get("steps") or MISSING)


def _sea_budget(book: Book) -> str:
    runs = book.evidence.find(optimizer="apgd", schedule="reduced", loss=SEA_LOSSES)
    return f"{iterations(runs)} iterations for each loss"


TABLES: dict[str, Callable[[Book], Layout]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "table4": table4,
    "table6": table6,
    "table7": table7,
    "table8": table8,
    "table9": table9,
    "table10": table10,
    "table11": table11,
    "appendix_c3": appendix_c3,
    "seeds": seeds_table,
    "ablation_training": ablation_training,
}
"""Builders from evidence by the name that the configuration uses; `table5` needs none."""
