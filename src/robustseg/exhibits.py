"""What tables and figures are, before any number is known: names, questions, what they need.

A table and a figure are each one object in one file of `tables/` and `figures/`. Everything else
reads these objects: the configuration, the plan, the page, the claims and the docs. Imports
nothing slow, since the configuration is read whenever the workflow is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from robustseg.evidence.numbers import Number, Sources
    from robustseg.evidence.runs import Runs, Selection


@dataclass(frozen=True)
class Question:
    """What tables and figures answer together: a section of the page.

    Attributes:
        title: the question.
        text: what to look at.
    """

    title: str
    text: str = ""


HOW_ROBUST = Question(
    "How robust is it?",
    "Scores on the images as they are, and on the worst ones that attacks find within each radius.",
)
EXISTING_ATTACKS = Question(
    "Do existing attacks overestimate robustness?",
    "The same models under earlier attacks and under SEA, the image-wise worst case over four "
    "losses. The lower the accuracy, the stronger the attack and the closer to the truth.",
)
WITHOUT_GRADIENTS = Question(
    "Does an attack without gradients find more?",
    "A random search that sees nothing but predicted classes, beside SEA. Where it leaves fewer "
    "pixels right than SEA, the model's gradients mislead, and SEA overestimates its robustness.",
)
TRUST = Question(
    "Can the figures be trusted?",
    "A second opinion on them: whether other attacks find more, and whether the model, its "
    "gradients and the figures themselves look as they should (docs/doubt.md).",
)
LOSSES_NEEDED = Question(
    "Which losses does an attack need?",
    "Each loss by itself, and the image-wise worst case over several of them.",
)
ITERATIONS_SPENT = Question(
    "How should the iterations be spent?",
    "The same number of iterations at constant radius, in restarts, or at a radius that is "
    "reduced step by step; then more or fewer of them, and other random seeds.",
)
ROBUST_BACKBONES = Question(
    "Does a robust backbone make adversarial training cheap?",
    "Adversarial training from a clean backbone (AT) and from a robust one (PIR-AT).",
)
CLASSES = Question(
    "Which classes hold, and which fall?",
    "Scores of each class, which the means over classes and images hide.",
)
PICTURES = Question(
    "What do attacks look like?",
    "Perturbed images and what models predict on them, at growing radii.",
)
SEEN_IMAGES = Question(
    "Does it matter that training has seen validation images?",
    "The validation images inside and outside the training split, each part by itself.",
)
OPEN_CHOICES = Question("Further tables and figures")

QUESTIONS = (
    HOW_ROBUST,
    EXISTING_ATTACKS,
    WITHOUT_GRADIENTS,
    TRUST,
    LOSSES_NEEDED,
    ITERATIONS_SPENT,
    ROBUST_BACKBONES,
    CLASSES,
    PICTURES,
    SEEN_IMAGES,
    OPEN_CHOICES,
)
"""In reading order, on the page and in reports."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What every table and figure has.

    Attributes:
        id: its name in configurations, files and targets, for example `table1`.
        label: what it is called in print, for example "Table 1"; the paper's number where it has
            one.
        question: what it answers.
        shows: a sentence on what stands in it.
    """

    id: str
    label: str
    question: Question
    shows: str


class Told(NamedTuple):
    """What a table says in a sentence: the first screen of the page has room for little more.

    Attributes:
        question: that the sentence answers.
        sentence: with figures.
        bars: figures to draw, by name, in percent.
    """

    question: str
    sentence: str
    bars: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Exhibit(Shown):
    """A table or a figure of numbers.

    What it needs is what it selects: `select` is asked of the runs that a configuration plans, when
    that is read, and of the runs in the evidence, when the table or figure is made. It raises a
    RobustsegError where a run that it needs is not there, or is there twice.

    Attributes:
        metrics: what it has numbers of; the first are the columns below each head.
        select: the runs behind each number, in order; None for one that reads no evidence.
        measure: the numbers of a selection; None for ACC and mIoU of the image-wise worst case.
        scores: the score of each image behind a number (image ids, percent), where the number is
            their mean; claims take intervals from it. None for numbers that are no such mean.
        tell: what the page says first of its long form, a sentence for each model; None: nothing.
        of_backbones: whether it reads backbones, as classifiers, instead of models.
        of_settings: whether it shows how models are trained, and `models` are these settings.
        on_request: whether it is made only when asked for by name.
        of_splits: whether it reads which images training has seen, from the data set's manifest.
        of_doubts: whether it reads second opinions, which look at some of the images alone.
        in_paper: whether the paper has it, so that claims may speak of it.
    """

    metrics: tuple[str, ...] = ("acc", "miou")
    select: Callable[[Runs], Iterator[Selection]] | None
    measure: Callable[[Sources, Selection], Sequence[Number]] | None = None
    scores: Callable[[Sources, Number], tuple[Any, Any]] | None = None
    tell: Callable[[pd.DataFrame], Iterator[Told]] | None = None
    of_backbones: bool = False
    of_settings: bool = False
    on_request: bool = False
    of_splits: bool = False
    of_doubts: bool = False
    in_paper: bool = True
