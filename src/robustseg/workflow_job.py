"""What every job does around its work: a log, progress, and errors as one sentence.

Scripts import it before all else of the library, since it puts off garbage collection until the job
begins: modules that load make no garbage, and looking for it took a job 0.8 of 3.7 s. What they
brought is left out of later collections too, which saves another 0.3 s. A script whose job is done
ends at once: to take torch and its compiler apart, object by object, took another 1.2 s.
"""

import atexit
import gc
import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from robustseg.errors import RobustsegError, is_of_full_gpu
from robustseg.files import alone
from robustseg.gpus import check_cluster, seem_there, take_gpus
from robustseg.progress import Progress

gc.disable()

OUTLIVED = "waits for the same job of an earlier run, which has not ended yet"
"""What a job says that has to wait for another process."""

FULL = (
    "the GPU's memory is full; end what else uses it, or lower batch_size "
    "(`--set-resources attack_model:batch_size=4`, with the name of the rule that failed)"
)
"""What a job says that ran out of it elsewhere than in a pass of the model or in a training."""

_done: list[str] = []
"""The job of this process, once it has ended well."""


def _end_at_once() -> None:
    """End a script of the workflow's, of which nothing but its job is left to do."""
    if _done and not hasattr(sys, "last_value") and hasattr(sys.modules["__main__"], "snakemake"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


# The last one that is called, since it is the first: what other modules leave to the end, such as
# joining their processes, is done before.
atexit.register(_end_at_once)

if TYPE_CHECKING:
    snakemake: Any
    """What Snakemake puts into each script: input, output, params, wildcards, ..."""


@contextmanager
def job(what: str, log: str | Path) -> Iterator[Progress]:
    """Run the block as a job that reports to the terminal and to a log file.

    It waits for a process that has the same log: the job of an earlier run, which may outlive a
    Snakemake that was killed, and would put results of older settings in the place of this one's.

    It is the last that a script does. What a person can mend ends in one sentence and exit status
    1; a defect of the code keeps its traceback. The log has the traceback of both. Ctrl-C ends in
    one sentence and exit status 130, as in a shell.

    Args:
        what: the job in a few words, in front of every line that it prints.
        log: the job's log file; its folder is made, an older log is replaced.
    """
    file: IO[str] = io.StringIO()
    gc.freeze()
    gc.enable()
    try:
        with alone(Path(log), lambda _: Progress(what).say(OUTLIVED)):
            file = Path(log).open("w", encoding="utf-8")  # noqa: SIM115, closing it may fail, below
            _check_source()
            yield Progress(what, file)
    except RobustsegError as error:
        _fail(what, str(error), file)
    except OSError as error:
        reason = f"{error.filename or log}: {error.strerror or error}"
        _fail(what, f"{reason}; free some space or check the permissions, then run again", file)
    except KeyboardInterrupt:
        _say(f"[{what}] stopped by Ctrl-C; the same command continues from what is kept", file)
        raise SystemExit(130) from None
    except Exception as error:
        if is_of_full_gpu(error):
            _fail(what, FULL, file)
        _keep_traceback(file)
        raise
    finally:
        gc.unfreeze()  # else modules in C that see no end of their objects report them as leaks
        with suppress(OSError):
            file.close()
    _done.append(what)


def _check_source() -> None:
    """Refuse to compute with another code than that of the workflow's checkout.

    Raises:
        RobustsegError: this library lies elsewhere.
    """
    wanted, found = os.environ.get("ROBUSTSEG_SOURCE"), Path(__file__).parents[1]
    if wanted and Path(wanted).resolve() != found.resolve():
        raise RobustsegError(
            f"the workflow is that of {wanted}, but this job found the library in {found}; "
            f"let PYTHONPATH begin with {wanted}, or uninstall robustseg from this environment"
        )


def _fail(what: str, sentence: str, log: IO[str]) -> None:
    _say(f"[{what}] error: {sentence}", log)
    _keep_traceback(log)
    raise SystemExit(1) from None


def _say(line: str, log: IO[str]) -> None:
    print(line, file=sys.stderr, flush=True)
    with suppress(OSError):
        print(line, file=log, flush=True)


def _keep_traceback(log: IO[str]) -> None:
    with suppress(OSError):
        traceback.print_exc(file=log)


def choose_device(gpus: int, progress: Progress) -> str:
    """Return "cuda" if the job was given a GPU and there is one, otherwise "cpu".

    Raises:
        RobustsegError: on a cluster, see `gpus.check_cluster`.
    """
    if not gpus:
        check_cluster(gpus, visible=False)
        return "cpu"
    import torch

    take_gpus(gpus, progress)
    visible = torch.cuda.is_available()
    check_cluster(gpus, visible)
    if not visible and seem_there():
        progress.say("torch sees none of this machine's GPUs: running on the CPU")
    return "cuda" if visible else "cpu"
