"""A warm-up ends when the run is stable, by the moments that frames were due; short runs have none."""

import numpy as np
import pytest

from consumers.ledger import warmup
from edgewise.arrivals import Burst
from edgewise.messages import Tier
from edgewise.summary import Limits, WarmUp
from tests.tables import NAMES, Told


def found(told: Told, limits: Limits | None = None) -> WarmUp | None:
    return warmup.find([told.rows(tier) for tier in told.tiers], limits or Limits())


def cold(told: Told, *, for_s: float) -> Told:
    """Let the cluster's first frames wait for its start."""
    told.answers[Tier.CLUSTER].wait(np.maximum(0, for_s - told.after_s) * 1000)
    return told


def test_a_run_that_is_stable_from_its_start_has_the_least_warm_up() -> None:
    whole = found(Told(tiers=[Tier.GATEWAY]))
    assert whole is not None
    assert (whole.stable, whole.lasted_s, whole.frames) == (True, 1.0, 60)
    assert whole.window_s == pytest.approx(40 / 24, abs=0.01)


def test_a_cold_start_is_warm_up_and_what_follows_is_not() -> None:
    whole = found(cold(Told(), for_s=8))
    assert whole is not None
    assert whole.stable
    assert 8 <= whole.lasted_s <= 8 + 2 * whole.window_s
    assert whole.frames == pytest.approx(whole.lasted_s * 60, abs=4)


def test_the_last_tier_decides() -> None:
    told = cold(Told(), for_s=8)
    alone = warmup.find([told.rows(Tier.GATEWAY)], Limits())
    assert alone is not None
    assert alone.lasted_s == 1.0


def test_bursts_are_stable_if_each_is_like_the_one_before() -> None:
    told = Told(arrival=Burst(on_s=1, off_s=4), cameras=10, rate_hz=10, frames=600)
    for answers in told.answers.values():
        answers.wait((told.after_s % 5) * 400)  # the end of each waits for its beginning
    whole = told.summary().warm_up
    assert whole is not None
    assert (whole.stable, whole.window_s) == (True, 5)


@pytest.mark.parametrize("trigger_s", [0.2, 0.3, 0.5])
def test_micro_batches_that_come_as_they_should_are_stable(trigger_s: float) -> None:
    told = Told(tiers=[Tier.CLUSTER])
    answers = told.answers[Tier.CLUSTER]
    received = answers.moments_ns["received"]
    till_ns = -(received - received.min()) % round(trigger_s * 1e9)
    answers.wait(till_ns / 1e6)
    whole = found(told)
    assert whole is not None
    assert whole.stable


def unsteady() -> Told:
    told = Told()
    told.answers[Tier.CLUSTER].wait((told.after_s // 1.7 % 2) * 200)
    return told


def test_a_run_that_never_agrees_gives_a_quarter_of_its_schedule() -> None:
    whole = found(unsteady())
    assert whole is not None
    assert not whole.stable
    assert whole.lasted_s == pytest.approx(10, abs=0.1)


def test_a_run_that_is_stable_too_late_is_not() -> None:
    whole = found(cold(Told(), for_s=25))
    assert whole is not None
    assert not whole.stable
    assert whole.lasted_s == pytest.approx(10, abs=0.1)


def test_what_agrees_is_for_the_limits_to_say() -> None:
    told = unsteady()
    whole = found(told, Limits(stable_within=1.0))
    assert whole is not None
    assert (whole.stable, whole.lasted_s) == (True, 1.0)


def test_never_stable_is_a_remark_and_a_reason_if_it_was_asked_for() -> None:
    told = unsteady()
    remarked = told.summary()
    assert remarked.verdict == "VALID"
    assert [remark.rule for remark in remarked.remarks] == ["never stable"]
    assert "the first 10.0 s were taken for the warm-up" in remarked.remarks[0].next
    refused = told.summary(limits=Limits(stable=True))
    assert ([reason.rule for reason in refused.reasons], refused.remarks) == (["never stable"], [])


@pytest.mark.parametrize("frames", [1, 10, 88])
def test_a_short_run_has_no_warm_up(frames: int) -> None:
    assert found(Told(frames=frames)) is None


def test_nothing_has_no_warm_up() -> None:
    assert warmup.find([], Limits()) is None


def test_bursts_are_no_instability() -> None:
    told = Told(tiers=[Tier.GATEWAY])
    # Every second frame of every other second is not due then, but in the second before.
    burst = (told.after_s % 2 >= 1) & (np.arange(len(told.due_ns)) % 2 == 1)
    for name in NAMES:
        told.answers[Tier.GATEWAY].moments_ns[name][burst] -= 10**9
    told.due_ns[burst] -= 10**9
    whole = found(told)
    assert whole is not None
    assert whole.stable


def test_a_lost_tail_is_no_stability() -> None:
    told = Told(tiers=[Tier.GATEWAY])
    told.answers[Tier.GATEWAY].miss(told.after_s > 0)
    whole = found(told)
    assert whole is not None
    assert not whole.stable


def test_latencies_are_of_the_frames_after_it_and_all_others_count() -> None:
    told = cold(Told(), for_s=8)
    judged = told.summary()
    cluster, warm_up = judged.tiers["cluster"], judged.warm_up
    assert judged.verdict == "VALID"
    assert warm_up is not None
    assert (cluster.results, cluster.missing) == (2400, 0)
    assert cluster.measured == 2400 - warm_up.frames
    assert cluster.latency_ms.p99 is not None
    assert 250 < cluster.latency_ms.p99 < 270
    assert judged.paired is not None
    assert (judged.paired.frames, judged.paired.measured) == (2400, cluster.measured)


def test_what_is_missing_in_the_warm_up_is_missing() -> None:
    told = Told()
    told.answers[Tier.CLUSTER].miss(told.after_s < 0.5)
    judged = told.summary()
    assert [reason.rule for reason in judged.reasons] == ["missing in cluster"]
    assert judged.tiers["cluster"].latency_ms.p99 is not None
