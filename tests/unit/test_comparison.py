"""Several runs put together: medians, intervals, and a winner only where all allow one."""

from typing import Any

import pytest
from rich.console import Console

from compare import comparison
from compare.comparison import compared
from compare.scenario import Cluster, Gateway, Placement, Scenario
from edgewise.statistics import median_interval
from edgewise.summary import FrameCounts, Latency, Lateness, Reason, Summary, TierSummary

COUNTS = dict.fromkeys(
    ("scheduled", "sent", "confirmed", "unheard", "refused", "dropped_at_source", "bridged", "bridged_copies"), 1000
)


def tier(p50_ms: float | None, *, on_time: float | None = 0.9) -> TierSummary:
    nothing: dict[str, Any] = dict.fromkeys(("missing", "duplicates", "reordered", "rejected", "late_readings"), 0)
    return TierSummary(
        engine="onnx",
        model="net@1",
        results=1000,
        missing_by_last_place={},
        rejected_by_rule={},
        correct=900,
        accuracy=0.9,
        on_time=on_time,
        throughput_hz=50.0,
        latency_ms=Latency(p50=p50_ms, p90=None, p99=None, p999=None),
        latency_stages_ms={},
        batch_mean=1.0,
        cpu_s=None,
        memory_bytes=None,
        uplink_bytes=0,
        **nothing,
    )


def run(verdict: str = "VALID", **tiers: TierSummary) -> tuple[str, Summary]:
    reasons = [] if verdict == "VALID" else [Reason(rule="gateway died", found="exit code -9", limit="-", next="look")]
    summary = Summary(
        run="r",
        version="0",
        verdict=verdict,  # type: ignore[arg-type]
        reasons=reasons,
        frames=FrameCounts(**COUNTS, rejected=0),
        lateness_ms=Lateness(p50=None, p99=None, max=None),
        tiers=tiers,
    )
    return "folder", summary


def alternated(gateway: list[float], cluster: list[float]) -> list[tuple[str, Summary]]:
    return [run(gateway=tier(one)) for one in gateway] + [run(cluster=tier(one)) for one in cluster]


def figure(found: comparison.Comparison, name: str = "latency p50") -> comparison.Figure:
    (one,) = (one for one in found.figures if one.name == name)
    return one


ALTERNATE = Scenario(placement=Placement.ALTERNATE, repeats=3)


def test_the_median_of_three_has_their_range_for_an_interval() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (2.0, (1.0, 3.0))
    assert median_interval([4.0]) == (4.0, (4.0, 4.0))
    middle, (low, high) = median_interval([*range(1, 102)])
    assert middle == 51
    assert 35 < low < 51 < high < 67


def test_a_tier_is_better_where_the_intervals_do_not_overlap() -> None:
    found = compared(ALTERNATE, alternated([10, 12, 11], [20, 19, 30]))
    assert (found.verdict, found.no_winner) == ("VALID", None)
    p50 = figure(found)
    assert p50.better == "gateway"
    assert p50.tiers["cluster"].values == [20, 19, 30]
    assert p50.tiers["cluster"].median == 20
    assert figure(found, "right and on time").better is None, "they are the same"


def test_where_more_is_better_more_wins() -> None:
    runs = [run(gateway=tier(1, on_time=0.5))] * 3 + [run(cluster=tier(1, on_time=0.8))] * 3
    assert figure(compared(ALTERNATE, runs), "right and on time").better == "cluster"


def test_intervals_that_overlap_name_no_winner() -> None:
    assert figure(compared(ALTERNATE, alternated([10, 12, 21], [20, 19, 30]))).better is None


def test_a_run_that_did_not_measure_a_figure_leaves_too_few() -> None:
    runs = alternated([10, 12, 11], [20, 19, 30])
    runs[0] = run(gateway=tier(None))
    found = compared(ALTERNATE, runs)
    assert figure(found).tiers["gateway"].values == [12, 11]
    assert figure(found).better is None


def test_an_invalid_run_makes_all_invalid_and_names_its_reason() -> None:
    runs = [*alternated([10, 12, 11], [20, 19, 30]), run("INVALID", gateway=tier(10))]
    found = compared(ALTERNATE, runs)
    assert (found.verdict, found.no_winner) == ("INVALID", "1 of the runs are INVALID")
    assert [reason.rule for reason in found.reasons] == ["gateway died"]
    assert figure(found).better is None


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        (Scenario(placement=Placement.ALTERNATE, repeats=2), "2 of at least 3 repeats"),
        (Scenario(repeats=3), "co-located: "),
        (Scenario(repeats=3, gateway=Gateway(cores=(0,))), "co-located: "),
        (Scenario(repeats=3, gateway=Gateway(cores=(0,)), cluster=Cluster(cores=(0, 1))), "co-located: "),
        (Scenario(repeats=3, placement=Placement.GATEWAY), "one tier alone"),
    ],
)
def test_there_are_reasons_to_name_no_winner(scenario: Scenario, why: str) -> None:
    found = compared(scenario, [run(gateway=tier(1), cluster=tier(9))] * 3)
    assert found.no_winner is not None
    assert found.no_winner.startswith(why)
    assert figure(found).better is None


def test_cores_of_their_own_allow_a_winner() -> None:
    apart = Scenario(repeats=3, gateway=Gateway(cores=(0,)), cluster=Cluster(cores=(1,)))
    assert figure(compared(apart, [run(gateway=tier(1), cluster=tier(9))] * 3)).better == "gateway"


def test_it_is_laid_out_in_100_columns() -> None:
    console = Console(width=100, record=True, file=None, no_color=True)
    with console.capture() as shown:
        console.print(comparison.rendered(compared(ALTERNATE, alternated([10, 12, 11], [20, 19, 30]))))
    text = shown.get()
    assert "latency p50, ms" in text
    assert "10.00 to 12.00" in text
    assert "Better only where the intervals do not overlap" in text
    assert "n/a" in text, "p99 was not measured"
