"""What a search finds on a machine that is sometimes slower and sometimes faster than it is in the middle."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from compare.reports import comparison
from compare.runs.ran import Ran
from compare.scenario import Scenario
from compare.searches import steps
from compare.searches.search import CapacitySearch
from edgewise.messages import Tier
from edgewise.summary import Steadiness
from tests.unit.test_steps import SCENARIO, alone, growing

LIMIT_HZ: Final = 500.0
SPREAD: Final = 0.1
"""Of the tier's speed from run to run: a third of the runs are more than a tenth away from it."""
SEARCHES: Final = 20
HELD: Final = alone().summary()
FAILED: Final = growing(alone(), by=0.5).summary()


class Uneven:
    """A tier whose limit is another one in each run."""

    def __init__(self, *, seed: int, uneven_share: float = 0.3) -> None:
        self._chance = np.random.default_rng(seed)
        self._steadiness = Steadiness(probes=100, probe_us=30, slowest=2, uneven_share=uneven_share)
        self.runs = 0

    def __call__(self, at: Scenario, tier: Tier) -> Ran:
        self.runs += 1
        limit_hz = LIMIT_HZ * math.exp(self._chance.normal(0, SPREAD))
        told = HELD if at.fleet.offered_hz <= limit_hz else FAILED
        return Ran("folder", (tier.value,), told.model_copy(update={"steadiness": self._steadiness}))


def found_hz(sustains: Callable[[Scenario], bool]) -> float:
    search = CapacitySearch(
        lambda rate_hz: sustains(SCENARIO.at({"fleet.rate_hz": rate_hz / SCENARIO.fleet.cameras})),
        start_hz=100,
        most_hz=10_000,
    )
    rate_hz = search.run().rate_hz
    assert rate_hz is not None
    return rate_hz


def middle(found: list[float]) -> float:
    """Give the geometric mean as a share of the limit."""
    return math.exp(np.mean(np.log(found))) / LIMIT_HZ


def step_by_step(tier: Uneven) -> float:
    return found_hz(lambda at: steps.step(tier, at, Tier.GATEWAY).sustained)


def three_chances(tier: Uneven) -> float:
    """Search as if only failures were run again."""

    def sustained(at: Scenario) -> bool:
        summary = tier(at, Tier.GATEWAY).summary
        assert summary is not None
        return all(one.held for one in steps.criteria(summary, Tier.GATEWAY, at))

    def sustains(at: Scenario) -> bool:
        return any(sustained(at) for _ in range(3))

    return found_hz(sustains)


def test_a_capacity_found_on_an_unsteady_machine_is_neither_too_high_nor_too_low() -> None:
    # What is found is the lower end of a gap of 5 %: without a bias that lies 2.5 % below the limit.
    assert 0.95 < middle([step_by_step(Uneven(seed=seed)) for seed in range(SEARCHES)]) < 1.0
    assert middle([three_chances(Uneven(seed=seed)) for seed in range(SEARCHES)]) > 1.02, "this rule's bias is seen"


def test_a_steady_machine_is_asked_once_for_each_step() -> None:
    tier = Uneven(seed=1, uneven_share=0.02)
    asked: list[steps.Step] = []

    def sustains(at: Scenario) -> bool:
        asked.append(steps.step(tier, at, Tier.GATEWAY))
        return asked[-1].sustained

    found_hz(sustains)
    assert tier.runs == len(asked)
    assert {one.attempts for one in asked} == {1}


def test_repeats_say_in_how_many_runs_the_machine_was_unsteady() -> None:
    uneven = Uneven(seed=1)
    compared = comparison.compared(SCENARIO, [uneven(SCENARIO, Tier.GATEWAY), Ran("folder", ("gateway",), HELD)])
    assert comparison.answer(compared).endswith(
        " The machine was unsteady in 1 of 2 runs: take speeds from a quieter hour."
    )
