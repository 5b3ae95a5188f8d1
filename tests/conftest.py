"""What all tests share: one thread each, so that several run side by side."""

import gc
import os

import pytest

from tests.needs import left_out, refuse_or_skip

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def collect_garbage() -> None:
    """Undo what loading `workflow_job` does to the process, as a job does when it begins."""
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark of tests that need a tool known."""
    config.addinivalue_line(
        "markers", "needs(tool): a tool of tests.needs that it cannot do without"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no core waits for one of them at the end."""
    items.sort(key=lambda item: item.path.parent.name != "workflow")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail tests whose tools are not there, before anything is set up for them."""
    for mark in item.iter_markers("needs"):
        refuse_or_skip(mark.args[0])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line which tests were left out, and how to have them."""
    skipped = terminalreporter.stats.get("skipped", [])
    line = left_out([str(report.longrepr) for report in skipped])
    if line:
        terminalreporter.write_line(line, yellow=True)
