"""Run a training from a job file: `torchrun --nproc-per-node 8 -m robustseg.training job.json`.

Without torchrun, `python -m robustseg.training job.json` does the same in one process. The keys of
a job file are those of `robustseg.training.launch.TrainingJob`.
"""

import os
import sys

from robustseg.errors import RobustsegError
from robustseg.progress import Progress, Silence
from robustseg.training.launch import ERROR, TrainingJob

if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m robustseg.training job.json")
    name = "training"
    try:
        job = TrainingJob.read(sys.argv[1])
        name = job.name
        first = os.environ.get("RANK", "0") == "0"
        job.train(Progress(name) if first else Silence())
    except RobustsegError as error:
        raise SystemExit(f"[{name}] {ERROR}{error}") from None
