"""How often two equal runs are said to differ: at most as often as the report says; and a real difference is found."""

import itertools
from typing import Final

import numpy as np
import pytest

from compare.reports import difference, same_frames
from compare.reports.intervals import Sample, image_mean, percentile_differences
from edgewise.statistics import Floats, mcnemar_p, median_interval, overlap
from tests.unit.test_difference import FRAMES, latencies_ms, of, table

SERVICE_S: Final = 0.002
BUSY_HZ: Final = 400
"""Of the 500 frames a second that the server does: a queue outlasts many frames."""
SECONDS: Final = 24
PAIRS: Final = 12
TIERS: Final = 2
PERCENTILES: Final = (50, 90, 99)


def queued_ms(due_s: Floats, *, seed: list[int], service_s: float = SERVICE_S) -> Floats:
    """Give what frames take through one server with exponential service times: the queue M/M/1."""
    spent_s = np.random.default_rng(seed).exponential(service_s, len(due_s))
    # Who comes waits until the one before has gone (D. V. Lindley, 1952), for all frames at once.
    gone_s = np.cumsum(spent_s) + np.maximum.accumulate(due_s - (np.cumsum(spent_s) - spent_s))
    found: Floats = (gone_s - due_s) * 1000
    return found


def pair(rate_hz: int, *, seed: int, slower: float = 1.0) -> tuple[Sample, Sample]:
    """Give two runs of the same schedule."""
    due_s = np.sort(np.random.default_rng(99).uniform(0, SECONDS, rate_hz * SECONDS))
    block = due_s.astype(np.int64)
    other = queued_ms(due_s, seed=[seed, 1], service_s=slower * SERVICE_S)
    return Sample(queued_ms(due_s, seed=[seed, 0]), block), Sample(other, block)


def test_equal_runs_differ_in_anything_no_oftener_than_one_in_twenty() -> None:
    at_once = TIERS * same_frames.FIGURES
    said = 0
    for number in range(PAIRS):
        found = [
            within
            for tier in range(TIERS)
            for within in percentile_differences(
                *pair(BUSY_HZ, seed=TIERS * number + tier), PERCENTILES, at_once=at_once
            ).values()
        ]
        assert len(found) == TIERS * len(PERCENTILES)
        said += any(not one.low <= 0 <= one.high for one in found)
    # One in twenty gives more than 2 of 12 one time in fifty.
    assert said <= 2


def test_a_tier_that_got_slower_is_found() -> None:
    found = percentile_differences(*pair(150, seed=1, slower=1.4), PERCENTILES, at_once=TIERS * same_frames.FIGURES)
    assert [share for share, within in found.items() if within.low > 0] == list(PERCENTILES)


def test_the_more_figures_are_judged_the_wider_is_each_interval() -> None:
    right = np.random.default_rng(5).random(FRAMES) < 0.85
    one, other = (of(late_ms, frames=table(late_ms)) for late_ms in (latencies_ms(seed=1), latencies_ms(seed=2)))
    other = of(latencies_ms(seed=2), frames=table(latencies_ms(seed=2), right=right))

    def within(tiers: int) -> dict[str, tuple[float, float]]:
        summaries = (one.summary, other.summary)
        frames = (one.frames, other.frames)
        same = same_frames.same(*frames)
        return {
            name: (found.low, found.high)
            for name, found in same_frames.differences(summaries, frames, "gateway", found=same, tiers=tiers).items()
        }

    alone, together = within(1), within(2)
    assert len(alone) == same_frames.FIGURES
    wider = {name: together[name][0] < low and high < together[name][1] for name, (low, high) in alone.items()}
    assert wider == dict.fromkeys(alone, True) | {"uplink for 1,000 right": wider["uplink for 1,000 right"]}


@pytest.mark.parametrize(("repeats", "one_in"), [(3, 10), (4, 35), (5, 126)])
def test_how_often_equal_comparisons_differ_by_chance_is_as_the_report_page_says(repeats: int, one_in: int) -> None:
    # Of all ways to deal the same values to two equal settings, only those differ in which all of one come first.
    values = np.arange(2.0 * repeats)
    dealt = [np.isin(values, one) for one in itertools.combinations(values, repeats)]
    intervals = [[median_interval(list(values[which]))[1] for which in (one, ~one)] for one in dealt]
    assert len(dealt) / sum(not overlap(*both) for both in intervals) == one_in


def test_that_single_runs_differ_is_said_of_them_and_not_of_their_settings() -> None:
    slower = of(latencies_ms(seed=2, middle_ms=40.0))
    told = difference.between_runs(of(latencies_ms(seed=1)), slower).answer
    assert told.endswith(" One run each: whether repeats of them would differ is not known.")
    assert "One run each" not in difference.between_runs(slower, slower).answer, "nothing is claimed"


def test_equally_good_tiers_differ_in_accuracy_no_oftener_than_one_in_twenty() -> None:
    said = told = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        right = rng.random((2, 400)) < 0.9  # each tier by itself, on the same images
        later, shown = 3 * (right[1].astype(np.int64) - right[0]), np.full(400, 3)  # three repeats that say the same
        within = image_mean(later, shown)
        assert within is not None
        apart = not within.low <= 0 <= within.high
        said += apart
        told += apart and mcnemar_p(int((later < 0).sum()), int((later > 0).sum())) < 0.05
    # One in twenty gives more than 18 of 200 one time in a hundred.
    assert told <= said <= 18
    assert told <= 12, "the exact test is stricter yet"
