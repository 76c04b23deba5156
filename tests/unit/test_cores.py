"""Cores of a run: a tier's own are its alone, what has none gets the rest, and the run says who gets which."""

import os
import subprocess
import sys
from typing import Any

import pytest

from compare.runs import cores
from compare.scenario import Placement, Scenario
from edgewise.errors import ConfigError
from edgewise.messages import Tier

EIGHT = range(8)


def scenario(placement: Placement = Placement.BOTH, **tiers: tuple[int, ...]) -> Scenario:
    named: dict[str, Any] = {tier: {"cores": own} for tier, own in tiers.items()}
    return Scenario.model_validate({"placement": placement, **named})


def test_a_tier_without_cores_of_its_own_gets_those_that_the_other_leaves() -> None:
    found = scenario(gateway=(2, 3))
    assert cores.left(found, EIGHT) == {0, 1, 4, 5, 6, 7}
    assert cores.said(found, EIGHT) == (
        "cores: the gateway 2, 3; the cluster, brokers, cameras, bridge and ledger 0, 1, 4, 5, 6, 7"
    )


def test_what_no_tier_has_is_everything_else_s() -> None:
    found = scenario(gateway=(0,), cluster=(1, 2))
    assert cores.said(found, EIGHT) == (
        "cores: the gateway 0; the cluster 1, 2; brokers, cameras, bridge and ledger 3, 4, 5, 6, 7"
    )


@pytest.mark.parametrize(
    ("own", "shared"),
    [
        ({}, True),
        ({"cluster": (1,)}, True),
        ({"gateway": (0, 1), "cluster": (1,)}, True),
        ({"gateway": (0,), "cluster": (1, 2)}, False),
    ],
)
def test_tiers_share_cores_unless_each_was_given_its_own(own: dict[str, tuple[int, ...]], shared: bool) -> None:  # noqa: FBT001
    assert cores.co_located(scenario(Placement.BOTH, **own), list(Tier)) is shared
    assert cores.co_located(scenario(Placement.BOTH, **own), [Tier.GATEWAY]) is None


def test_a_tier_that_does_not_run_gets_none() -> None:
    assert cores.said(scenario(Placement.GATEWAY, gateway=(1,)), range(2)) == (
        "cores: the gateway 1; brokers, cameras, bridge and ledger 0"
    )


def test_cores_that_leave_none_are_shared_and_the_run_says_so() -> None:
    found = scenario(gateway=(0, 1))
    assert cores.left(found, range(2)) == {0, 1}
    assert cores.said(found, range(2)) == (
        "cores: the gateway 0, 1; the cluster, brokers, cameras, bridge and ledger 0, 1, which the tiers have too"
    )


def test_without_cores_nothing_is_said() -> None:
    assert cores.said(scenario(), EIGHT) is None


def test_cores_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.cores: there is no core 9 here; allowed are \[0, 1\]"):
        cores.refuse(scenario(cluster=(1, 9)), range(2))


def test_what_is_started_meanwhile_keeps_off_a_tier_s_cores() -> None:
    allowed = os.sched_getaffinity(0)
    one = min(allowed)
    asked = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
    with cores.shared_out(scenario(gateway=(one,))):
        told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert told.strip() == str(sorted(allowed - {one} or allowed))
    assert os.sched_getaffinity(0) == allowed
