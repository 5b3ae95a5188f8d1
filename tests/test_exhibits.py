"""What every table and figure says about itself."""

import pytest

from robustseg.exhibits import QUESTIONS
from robustseg.figures.registry import FIGURES, PICTURES
from robustseg.tables.registry import TABLES

EVERY = [*TABLES.values(), *FIGURES.values(), *PICTURES.values()]


def test_ids_and_labels_are_unique_and_ids_are_the_keys() -> None:
    ids = [one.id for one in EVERY]
    assert len(ids) == len(set(ids))
    assert ids == [*TABLES, *FIGURES, *PICTURES]
    labels = [one.label for one in EVERY]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.id)
def test_each_has_a_label_a_sentence_and_a_known_question(one) -> None:
    assert one.label.strip()
    assert one.shows.strip().endswith(".")
    assert one.question in QUESTIONS
