"""The watch: each rule on rows made for it, none on a run that is well."""

import math
import random
from typing import Any

import pytest

from sdpo_agent.watch import RULES, WINDOW, Row, fresh_warnings, warnings

WELL: dict[str, float] = {
    "tokens_mean": 100.0,
    "cut_short_share": 0.1,
    "entropy_estimate": 0.5,
    "pass_at_k": 0.6,
    "success_rate": 0.4,
    "taught_share": 0.7,
    "teacher_gap": -0.3,
    "teacher_gap_size": 0.4,
    "attempts": 32.0,
    "broken_attempts": 0.0,
}


def rows(count: int, **changes: float) -> list[Row]:
    return [{**WELL, **changes} for _ in range(count)]


BROKEN: dict[str, tuple[list[Row], str]] = {
    "short": ([*rows(5), *rows(5, tokens_mean=49.0)], "49 tokens long, 100 at first"),
    "long": (rows(5, cut_short_share=0.6), "60% of the actions are cut short"),
    "certain": ([*rows(5), *rows(5, entropy_estimate=0.1)], "from 0.50 to 0.10 nats"),
    "narrow": ([*rows(5), *rows(5, pass_at_k=0.4)], "from 0.60 to 0.40"),
    "worse": ([*rows(5), *rows(5, success_rate=0.2)], "from 0.40 to 0.20"),
    "idle": (rows(5, taught_share=0.04), "Only 4% of the samples"),
    "deaf": (rows(5, teacher_gap_size=1e-4), "probe"),
    "apart": ([*rows(5), *rows(5, teacher_gap=-0.9)], "gap -0.30 to -0.90"),
    "machinery": (rows(1, broken_attempts=4.0), "4 of the last 32"),
}


def test_every_rule_is_tried_below() -> None:
    assert list(BROKEN) == list(RULES)


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_fires_on_what_it_is_for_and_no_other_does(name: str) -> None:
    made, words = BROKEN[name]
    told = warnings(made)
    assert list(told) == [name]
    assert words in told[name]
    assert told[name].endswith((".", "."))


@pytest.mark.parametrize("name", BROKEN)
def test_a_warning_comes_once_when_it_begins(name: str) -> None:
    made = [*rows(5), *BROKEN[name][0], *BROKEN[name][0][-1:] * 10]
    fresh = [fresh_warnings(made[: count + 1]) for count in range(len(made))]
    begun = [step for step, words in enumerate(fresh) if words]
    assert len(begun) == 1
    assert name in warnings(made[: begun[0] + 1])
    assert name not in warnings(made[: begun[0]])


def test_a_warning_comes_again_after_it_was_over() -> None:
    bad, well = rows(1, broken_attempts=32.0), rows(2 * WINDOW)
    made = [*well, *bad, *well, *bad, *well]
    assert sum(len(fresh_warnings(made[: count + 1])) for count in range(len(made))) == 2


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_said_of_a_run_that_is_well(seed: int) -> None:
    """Success grows, answers grow somewhat shorter and surer, the teacher comes closer; all of it is noisy."""
    dice, made = random.Random(seed), []
    for step in range(120):
        done = step / 120
        made.append(
            {
                "tokens_mean": 100 - 40 * done + dice.gauss(0, 5),
                "cut_short_share": 0.2 - 0.1 * done + dice.uniform(0, 0.1),
                "entropy_estimate": 0.6 - 0.3 * done + dice.gauss(0, 0.03),
                "pass_at_k": min(1.0, 0.6 + 0.3 * done + dice.gauss(0, 0.05)),
                "success_rate": min(1.0, 0.3 + 0.4 * done + dice.gauss(0, 0.05)),
                "taught_share": 0.9 - 0.5 * done + dice.uniform(0, 0.1),
                "teacher_gap": -0.4 + 0.3 * done + dice.gauss(0, 0.05),
                "teacher_gap_size": 0.5 - 0.3 * done + dice.uniform(0, 0.05),
                "attempts": 32.0,
                "broken_attempts": float(dice.random() < 0.1),
            }
        )
        assert fresh_warnings(made) == []


def test_nothing_is_said_of_nothing() -> None:
    assert warnings([]) == {}
    assert fresh_warnings([]) == []
    assert warnings([{}]) == warnings([{}] * 30) == {}


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "machinery"])
def test_nothing_is_said_of_too_few_rows(name: str) -> None:
    made = BROKEN[name][0]
    assert warnings(made[1:]) == {}
    assert warnings(made[-(WINDOW - 1) :]) == {}


@pytest.mark.parametrize("key", WELL)
def test_what_is_not_known_breaks_no_rule(key: str) -> None:
    unknown: list[Any] = [rows(30, **{key: math.nan}), [{k: v for k, v in WELL.items() if k != key}] * 30]
    for made in unknown:
        assert warnings(made) == {}
        assert warnings([*rows(10), *made]) == {}
        assert warnings([*made, *rows(10)]) == {}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("gap", ["nan", "missing"])
def test_a_hole_in_the_rows_hides_nothing(name: str, gap: str) -> None:
    made = BROKEN[name][0]
    hole: Row = dict.fromkeys(WELL, math.nan) if gap == "nan" else {}
    for place in (0, 1, len(made) - 1):
        assert name in warnings([*made[:place], hole, *made[place:], *made[-1:] * WINDOW])


def test_a_metric_that_only_some_steps_have_is_compared_over_those() -> None:
    without = {key: value for key, value in WELL.items() if not key.startswith("teacher_gap")}
    apart = [row for pair in zip([without] * 10, BROKEN["apart"][0], strict=True) for row in pair]
    assert list(warnings(apart)) == ["apart"]
    assert warnings([*rows(5), *[without] * 30]) == {}


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("short", [*rows(5), *rows(5, tokens_mean=51.0)]),
        ("long", rows(5, cut_short_share=0.5)),
        ("certain", [*rows(5), *rows(5, entropy_estimate=0.16)]),
        ("narrow", [*rows(5), *rows(5, pass_at_k=0.46)]),
        ("worse", [*rows(5), *rows(5, success_rate=0.26)]),
        ("idle", rows(5, taught_share=0.06)),
        ("deaf", rows(5, teacher_gap_size=0.002)),
        ("apart", [*rows(5), *rows(5, teacher_gap=-0.75)]),
        ("machinery", rows(5, broken_attempts=3.0)),
    ],
)
def test_a_little_is_no_reason_to_warn(name: str, harmless: list[Row]) -> None:
    assert name not in warnings(harmless)


def test_what_fell_is_compared_with_the_best_and_not_the_first() -> None:
    risen = [*rows(5, success_rate=0.1), *rows(5, success_rate=0.8), *rows(5, success_rate=0.5)]
    assert "from 0.80 to 0.50" in warnings(risen)["worse"]
    assert warnings([*rows(5, success_rate=0.1), *rows(5, success_rate=0.3)]) == {}


def test_small_gaps_that_double_are_not_drifting_apart() -> None:
    assert warnings([*rows(5, teacher_gap=-0.01), *rows(5, teacher_gap=-0.1)]) == {}
    assert warnings([*rows(5, teacher_gap=0.4), *rows(5, teacher_gap=0.1)]) == {}
    assert list(warnings([*rows(5, teacher_gap=0.4), *rows(5, teacher_gap=-0.4)])) == ["apart"]
