"""Tables 6 and 11 and the numbers of Appendix C.3 (arXiv 2306.12941), from evidence."""

from __future__ import annotations

from collections.abc import Sequence

from robustseg.attacks.spec import TRANSFER
from robustseg.errors import RobustsegError
from robustseg.evidence.book import ARCHITECTURE_LABELS, METRICS, Book, iterations, radius
from robustseg.evidence.queries import Run
from robustseg.names import LOSS_LABELS, SCHEDULE_LABELS, SCHEME_LABELS
from robustseg.tables.layout import Cell, Group, Layout, Row

CLEAN_OBJECTS = "clean_objects"
"""The attack in evidence of a clean evaluation without the background."""


def table6(book: Book) -> Layout:
    """Table 6: the backbones with their accuracy as classifiers, clean and under attack."""
    book.metrics = ("acc",)
    radii = sorted({run.eps_255 for run in book.evidence.runs if run.eps_255})
    lines, used = [], []
    for backbone in book.read_models():
        cells = [book.clean(backbone)[0]]
        for eps_255 in radii:
            runs = book.evidence.find(model=backbone, eps_255=eps_255)
            used += runs
            cells.append(book.cells("linf", runs)[0] if runs else Cell(""))
        settings = book.models[backbone]
        architecture = str(settings["architecture"])
        stub = (
            ARCHITECTURE_LABELS.get(architecture, architecture),
            "yes" if settings.get("eps_255") else "no",
            settings.get("publisher") or f"trained here on {settings['dataset']}",
        )
        lines.append(Row(stub, tuple(cells)))
    losses = " and ".join(LOSS_LABELS[loss] for loss in dict.fromkeys(r.loss for r in used))
    images = book.evidence.images(book.evidence.runs[0])
    return Layout(
        "Backbones",
        "Accuracy in percent of the classifiers that models start from, clean and under the ℓ∞ "
        f"attack: APGD on {losses}, {iterations(used)} iterations, one image right or wrong. "
        f"{images} images; training seed {book.training_seed}.",
        ("Backbone", "Robust", "Source"),
        tuple(("accuracy", head) for head in ("clean", *map(radius, radii))),
        (Group("", tuple(lines)),),
        ("The paper does not say which attack its ℓ∞ accuracies come from.",),
    )


def table11(book: Book) -> Layout:
    """Table 11: attacks carried over from other models, and white-box SEA."""
    groups, used = [], []
    for target in book.read_models():
        radii = book.radii(target)
        at = {"model": target, "eps_255": tuple(radii)}
        moved = [run for run in book.evidence.find(**at) if run.attack.startswith(TRANSFER)]
        used += moved
        lines = [
            _line(book, _word(book, source), source, target, runs)
            for source, runs in _by_source(book, moved).items()
        ]
        suites = {run.suite for run in book.evidence.find(**at)} - {run.suite for run in moved}
        sea = [
            run
            for eps_255 in radii
            for run in book.sea(model=target, eps_255=eps_255, suite=tuple(suites))
        ]
        lines.append(_line(book, "sea", target, target, sea))
        groups.append(Group(book.title(target), tuple(lines)))
    what = {f"{SCHEDULE_LABELS[r.schedule]} APGD on {LOSS_LABELS[r.loss]}" for r in used}
    heads = ["0", *map(radius, sorted({run.eps_255 for run in used}))]
    return Layout(
        "Transfer attacks",
        f"Perturbations found on the source by {' and '.join(sorted(what))} "
        f"({iterations(used)} iterations) and counted on the target, beside SEA on the target "
        f"itself. {book.about()}",
        ("Attack", "Source", "Target"),
        tuple((head, metric) for head in heads for metric in METRICS),
        tuple(groups),
        book.notes(),
    )


def _by_source(book: Book, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the transfer runs by source, in the order of the configuration's models."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        source = run.attack.removeprefix(TRANSFER).split("-")[0]
        if source not in book.models:
            raise RobustsegError(
                f"{book.name}: evidence of {run.attack}, whose source {source} is no model of this "
                "configuration; use the evidence of this run"
            )
        found.setdefault(source, []).append(run)
    sources = {model: found[model] for model in book.models if model in found}
    words = [_word(book, source) for source in sources]
    if len(set(words)) < len(words):
        raise RobustsegError(
            f"{book.name} has one line for each training scheme and reads two sources of one: "
            f"{', '.join(sources)}; name one of them in the suite"
        )
    return sources


def _word(book: Book, source: str) -> str:
    """Return what a transfer attack is called in the paper's numbers."""
    return f"transfer_{book.models[source]['scheme']}"


def _line(book: Book, word: str, source: str, target: str, runs: Sequence[Run]) -> Row:
    """Return the line of one attack: the clean score of the target, then each radius."""
    clean = book.evidence.clean(target, book.training_seed)
    cells = list(book.cells(word, [clean]))
    for eps_255 in book.radii(target):
        cells += book.cells(word, [run for run in runs if run.eps_255 == eps_255])
    white_box = source == target
    names = (SCHEME_LABELS[book.models[model]["scheme"]] for model in (source, target))
    losses = " and ".join(dict.fromkeys(LOSS_LABELS[run.loss] for run in runs))
    return Row(("SEA (white-box)" if white_box else f"APGD w/ {losses}", *names), tuple(cells))


def appendix_c3(book: Book) -> Layout:
    """Appendix C.3: clean scores on the objects, of models trained with and without background."""
    groups: dict[str, list[Row]] = {}
    for model in book.read_models():
        settings = book.models[model]
        objects = book.evidence.one(model=model, attack=CLEAN_OBJECTS)
        cells = [*book.cells("clean", [objects]), *book.cells("clean_all", [_all(book, model)])]
        learnt = settings.get("background", True)
        stub = ("yes" if learnt else "no",)
        groups.setdefault(book.title(model), []).append(Row(stub, tuple(cells)))
    return Layout(
        "Training and scoring with and without the background class",
        "Clean scores on the pixels of objects, with the background's logit left out, and on all "
        "pixels. A model that was trained without the background ignored its pixels and is not "
        f"meant for the second. {book.about()}",
        ("Trained with background",),
        tuple((head, metric) for head in ("objects alone", "all pixels") for metric in METRICS),
        tuple(Group(title, tuple(rows)) for title, rows in groups.items()),
        book.notes(),
    )


def _all(book: Book, model: str) -> Run:
    return book.evidence.clean(model, book.training_seed)
