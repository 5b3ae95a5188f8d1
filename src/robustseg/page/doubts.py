"""Second opinions on the page: a verdict for each model and radius, and the checks behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robustseg.evidence.enumerator import jobs_of_file
from robustseg.evidence.findings import (
    CHECKS,
    DOUBTFUL,
    FAILED,
    NOT_RUN,
    NOTED,
    PASSED,
    SOUND,
    TOO_HIGH,
    Finding,
    Opinion,
)
from robustseg.evidence.reading import read_opinions
from robustseg.evidence.wording import printed, radius

SIGNS = {
    SOUND: "✓", DOUBTFUL: "?", TOO_HIGH: "✗",
    PASSED: "✓", NOTED: "!", FAILED: "✗", NOT_RUN: "–",
}  # fmt: skip
"""Of verdicts and findings, beside words that say the same."""


def doubts_of(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Return the second opinions in files of evidence as the page's template wants them.

    Those against a figure come first, then models and radii are in the order of their files.

    Args:
        paths: of all evidence behind the page; most files hold none.

    Raises:
        RobustsegError: a damaged opinion.
    """
    found = [
        (job.model, job.training_seed, opinion)
        for path in paths
        for opinion in read_opinions(path)
        for job in jobs_of_file(path)[:1]
    ]
    several_seeds = len({training_seed for _, training_seed, _ in found}) > 1
    order = (TOO_HIGH, DOUBTFUL, SOUND)
    found.sort(key=lambda one: (order.index(one[2].rating), one[0], one[1], one[2].eps_255))
    return [
        {"model": f"{model}, training seed {seed}" if several_seeds else model, **_shown(opinion)}
        for model, seed, opinion in found
    ]


def _shown(opinion: Opinion) -> dict[str, Any]:
    counts = Counter(one.status for one in opinion.findings)
    return {
        "radius": radius(opinion.eps_255),
        "rating": opinion.rating.replace(" ", "-"),
        "sign": SIGNS[opinion.rating],
        "verdict": opinion.verdict,
        "images": opinion.images,
        "acc": printed(opinion.acc),
        "found": printed(opinion.found),
        "failed": [_check(one) for one in opinion.failed],
        "counts": ", ".join(
            f"{counts[status]} {status}"
            for status in (FAILED, NOTED, PASSED, NOT_RUN)
            if counts[status]
        ),
        "checks": [_check(one) for one in opinion.findings],
    }


def _check(finding: Finding) -> dict[str, str]:
    about = CHECKS[finding.check]
    return {
        "asks": about.asks,
        "figure": finding.measured,
        "limit": about.limit,
        "sign": SIGNS[finding.status],
        "status": finding.status,
        "note": finding.note,
        "advice": about.advice,
    }
