"""A key to the names of models and attacks in the verdicts on claims."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from robustseg.attacks.losses import LOSSES
from robustseg.claims.language import Place
from robustseg.evidence.wording import training

ATTACKS = {
    "clean": "no attack",
    "sea": "SEA: for each image the worst of its four losses",
    "worst": "for each image the worst of the losses beside it in the table or figure",
    **{name: f"{loss.label}, one loss alone" for name, loss in LOSSES.items()},
    "segpgd": "SegPGD: PGD on Bal-CE",
    "cospgd": "CosPGD: PGD on CosSim-CE",
    "segapgd": "the loss of SegPGD with APGD",
    "cosapgd": "the loss of CosPGD with APGD",
    "all_losses": "for each image the worst of six losses at constant radius",
    "four_losses": "for each image the worst of SEA's four losses at constant radius",
    "A": "SEA without Mask-Spherical",
    "B": "SEA without JS",
    "C": "SEA without Bal-CE",
    "transfer_clean": "found on the clean model",
    "transfer_at": "found on the AT model",
    "alma": "ALMA prox, which minimises the norm of the perturbation",
    "linf": "APGD on a classifier",
    "reduced": "at a radius that is reduced step by step",
    "constant": "at constant radius",
    "restarts": "at constant radius, restarted",
}
"""In the words of config/paper/README.md and docs/claims.md."""


def key_of(
    details: Iterable[str], places: Sequence[Place], models: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str]]:
    """Return a line for each model and attack that is named: its name, its kind, its meaning.

    Args:
        details: what decides verdicts, or why a claim has none.
        places: which model plays which role.
        models: settings by name; roles of others, such as backbones, have no line.
    """
    named = {word for detail in details for word in re.findall(r"\w+", detail)}
    meanings: dict[str, dict[str, None]] = {}
    for place in places:
        for role, model in place.roles.items():
            if role in named and model in models:
                meanings.setdefault(role, {})[training(models[model])] = None
    found = [(role, "model", "; ".join(said)) for role, said in meanings.items()]
    found += [(name, "attack", said) for name, said in ATTACKS.items() if name in named]
    found += [
        (name, "attack", f"SEA with {name[4:]} iterations of each loss")
        for name in sorted(named)
        if re.fullmatch(r"sea_\d+", name)
    ]
    return [{"Name": name, "Kind": kind, "Meaning": said} for name, kind, said in found]
