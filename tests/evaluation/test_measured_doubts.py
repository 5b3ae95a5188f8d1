"""The measured opinions of docs/doubt.md: they are those of the files, and hold here too."""

from pathlib import Path

import pytest
import torch

import robustseg
from tests.evaluation.measured_doubts import as_markdown
from tests.evaluation.zoo import DEFECTS, HONEST, honest, images
from tests.needs import EVERYTHING
from tests.workflow.running import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::robustseg.RobustsegWarning")
REFERENCE = ROOT / "results" / "reference" / "doubt"
LONG = pytest.mark.skipif(not EVERYTHING, reason="minutes; ROBUSTSEG_TEST_ALL asks for it")
QUICK = ("demo_clean",)
LIGHT = ("demo_at_long", "lraspp", "linknet_at", "segformer", "unet")
"""Half of those that take about a minute each; all honest networks are in docs/doubt.md."""


def test_the_docs_show_what_was_measured() -> None:
    assert as_markdown(REFERENCE) in (ROOT / "docs" / "doubt.md").read_text(encoding="utf-8")


def test_every_defect_and_network_was_measured() -> None:
    text = as_markdown(REFERENCE)
    for name in (*HONEST, *DEFECTS):
        assert f"| {name} |" in text


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=LONG) for name in LIGHT)])
@pytest.mark.timeout(1200)
def test_an_honest_network_raises_no_alarm(name: str, folder: Path) -> None:
    torch.set_num_threads(1)
    net = honest(name, folder)
    found = robustseg.doubt(
        net, images("val", 4), HONEST[name].eps_255, iterations=100, batch_size=4, progress=False
    )
    assert not found.overestimated, str(found)
