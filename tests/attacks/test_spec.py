"""Names, budgets and the sentences for what cannot be run."""

import math

import pytest

from robustseg.attacks.schedules import slots
from robustseg.attacks.spec import AttackSpec, SquareSpec, check_radius, specs_of
from robustseg.errors import RobustsegError

PLAIN = {"losses": ["ce"], "schedules": ["constant"], "iterations": [10]}


def test_name_says_what_the_attack_is() -> None:
    assert AttackSpec("mask_ce", "apgd", "reduced", 300).name == "apgd-mask_ce-reduced-300"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("hinge",), "unknown loss hinge"),
        (("ce", "adam"), "unknown optimizer adam"),
        (("ce", "apgd", "cosine"), "unknown schedule cosine"),
        (("ce", "apgd", "reduced", 2), "at least 3 iterations"),
        (("ce", "apgd", "constant", 0), "at least 1 iterations"),
        (("ce", "pgd"), "needs a step_size"),
        (("ce", "pgd", "constant", 10, -1.0), "needs a step_size"),
        (("ce", "apgd", "constant", 10, 0.01), "chooses its own step size"),
    ],
)
def test_impossible_attacks_are_refused(arguments: tuple, sentence: str) -> None:
    with pytest.raises(RobustsegError, match=sentence):
        AttackSpec(*arguments)


def test_suite_is_every_combination_in_order() -> None:
    suite = {"losses": ["js", "ce"], "schedules": ["constant", "reduced"], "iterations": [10, 20]}
    attacks = specs_of(suite, 4)
    assert [attack.name for attack in attacks] == [
        f"apgd-{loss}-{schedule}-{budget}"
        for schedule in ("constant", "reduced")
        for budget in (10, 20)
        for loss in ("js", "ce")
    ]


def test_pgd_takes_its_step_size_by_radius() -> None:
    suite = PLAIN | {"optimizer": "pgd", "step_size": {4: 4e-3, 0.5: 1e-3}}
    assert specs_of(suite, 4.0)[0].step_size == 4e-3
    assert specs_of(suite, 0.5)[0].step_size == 1e-3
    with pytest.raises(RobustsegError, match=r"no step_size at eps_255 8 .*0\.5, 4"):
        specs_of(suite, 8)


def test_an_attack_named_twice_is_refused() -> None:
    with pytest.raises(RobustsegError, match="apgd-ce-constant-10 is in the suite twice"):
        specs_of(PLAIN | {"losses": ["ce", "js", "ce"]}, 4)


@pytest.mark.parametrize(
    ("member", "loss", "margin", "q_range"),
    [
        ("js", "js", None, (-2, 1)),
        ("mask_ce_balanced@2.5", "mask_ce_balanced", 2.5, (-2, 1)),
        ("tsallis:0:0", "tsallis", None, (0, 0)),
        ("tsallis:-4:0.5@10", "tsallis", 10, (-4, 0.5)),
    ],
)
def test_a_member_names_loss_scale_and_q(
    member: str, loss: str, margin: float | None, q_range: tuple[float, float]
) -> None:
    spec = AttackSpec(member, choice="js_by_ce")
    assert (spec.loss, spec.margin, spec.q_range) == (loss, margin, q_range)
    assert spec.name == f"apgd-{member}-constant-100-js_by_ce"


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ("dice", "unknown loss dice; choose one of ce,"),
        ("js@", "unknown loss js@"),
        ("js@0", "js@0: a margin must be above 0"),
        ("js@-3", "js@-3: a margin must be above 0"),
        ("js@1000001", "js@1000001: a margin must be between 1e-06 and 1e\\+06"),
        ("js@0.0000009", "a margin must be between"),
        ("js:0:1", "js:0:1: only tsallis has q"),
        ("tsallis:0:2", "tsallis:0:2: only tsallis has q, at most 1"),
        ("tsallis:-101:1", "q must be at least -100"),
    ],
)
def test_what_is_no_member_is_refused(member: str, says: str) -> None:
    with pytest.raises(RobustsegError, match=says):
        AttackSpec(member)


@pytest.mark.parametrize(("iterations", "p_init"), [(0, 0.8), (1, 0), (1, math.inf), (1, True)])
def test_square_needs_a_query_and_a_share(iterations: int, p_init: float) -> None:
    with pytest.raises(RobustsegError, match="a query or more and a p_init above 0"):
        SquareSpec(iterations, p_init)
    assert SquareSpec(1, 1e-3).name == "square-right_pixels-0.001-1"


@pytest.mark.parametrize("eps_255", [-0.1, 255.1, float("nan")])
def test_impossible_radii_are_refused(eps_255: float) -> None:
    with pytest.raises(RobustsegError, match="between 0 and 255"):
        check_radius(eps_255)


@pytest.mark.parametrize("schedule", ["constant", "restarts", "reduced"])
@pytest.mark.parametrize("iterations", [3, 10, 17, 100, 300])
def test_schedules_spend_the_budget(schedule: str, iterations: int) -> None:
    parts = slots(schedule, iterations)
    assert sum(part.iterations for part in parts) == iterations
    assert all(part.iterations > 0 for part in parts)
    assert parts[-1].final
    assert parts[-1].scale == 1


def test_reduced_radius_is_one_attack_in_three_radii() -> None:
    parts = slots("reduced", 300)
    assert [(p.scale, p.iterations, p.before, p.final) for p in parts] == [
        (2, 90, 0, False),
        (1.5, 90, 90, False),
        (1, 120, 180, True),
    ]
    assert {(p.restart, p.budget) for p in parts} == {(0, 300)}


def test_restarts_are_three_attacks_of_their_own() -> None:
    parts = slots("restarts", 300)
    assert [(p.iterations, p.before, p.budget, p.restart) for p in parts] == [
        (100, 0, 100, restart) for restart in range(3)
    ]
