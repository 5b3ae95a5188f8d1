"""Try to break the project: `python -m tests.campaign --minutes 30 --seed 0 --only kills`."""

import argparse
import os
import sys
from pathlib import Path

# Set before numerical libraries are loaded, which else start threads that no fork survives.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"


def main() -> int:
    """Run a campaign, or one of its cases, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="that classes share (30)")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (0)")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="classes, or kills, inputs, disks"
    )
    parser.add_argument("--number", type=int, help="try this case of one class alone")
    parser.add_argument(
        "--record", type=Path, default=Path("results/campaign.json"), help="where counts are kept"
    )
    parser.add_argument(
        "--docs", action="store_true", help="only write the table of docs/reliability.md anew"
    )
    options = parser.parse_args()

    from tests.campaign.campaign import campaign, repeat
    from tests.campaign.docs import write_docs

    if options.docs:
        write_docs()
        return 0
    if options.number is not None:
        if len(options.only) != 1:
            parser.error("--number is of one class: --only NAME --number N")
        return repeat(options.only[0], options.seed, options.number)
    return campaign(options.only, options.seed, options.minutes, options.record)


if __name__ == "__main__":
    sys.exit(main())
