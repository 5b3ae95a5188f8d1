"""What all tests share: one thread each, so that several run side by side."""

import gc
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def collect_garbage() -> None:
    """Undo what loading `workflow_job` does to the process, as a job does when it begins."""
    gc.enable()
