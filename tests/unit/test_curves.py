"""Curves of tiny tables, whose quantiles and counts are known."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest

from compare.reports import curves, grids
from compare.reports.curves import Frames
from consumers.ledger.table import SCHEMA, Fate

START_NS: Final = 1_795_000_000_000_000_000
MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
BOTH: Final = ("gateway", "cluster")
Row = Mapping[str, Any]


def answered(tier: str, due_ms: float, latency_ms: float, *, truth: int | None = 3, label: int = 3) -> Row:
    due_ns = START_NS + round(due_ms * MS)
    late_ns = round(latency_ms * MS)
    moments = {"due_ns": due_ns, "latency_ns": late_ns, "seen_ns": due_ns + late_ns}
    return {"tier": tier, "fate": Fate.ANSWERED.value, "truth": truth, "label": label, "right_image": True} | moments


def unanswered(tier: str, due_ms: float, *, fate: Fate = Fate.UNANSWERED) -> Row:
    return {"tier": tier, "fate": fate.value, "truth": 3, "due_ns": START_NS + round(due_ms * MS)}


def table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)


def frames(rows: Sequence[Row], *, tiers: Sequence[str] = ("gateway",)) -> Frames:
    return curves.grouped(table(rows), tiers=tiers)


def a_minute() -> list[Row]:
    """Give ten frames a second for a minute; the cluster is slow, and answers none that are due after 40 s."""
    dues_ms = [number * 100 for number in range(600)]
    gateway = [answered("gateway", due, 20 + due % 70, label=due // 100 % 10) for due in dues_ms]
    cluster = [
        answered("cluster", due, 900 + due % 700) if due < 40_000 else unanswered("cluster", due) for due in dues_ms
    ]
    return [*gateway, *cluster]


def test_each_point_of_a_distribution_is_exact_and_missing_frames_keep_it_from_1() -> None:
    rng = np.random.default_rng(1)
    latency_ms = np.concatenate([rng.permutation(np.arange(1.0, 9_901.0)), np.full(100, np.inf)])
    found = curves.distribution(latency_ms, points=100)
    assert len(found.ms) <= 100
    assert np.array_equal(found.share, [(latency_ms <= ms).mean() for ms in found.ms])
    assert (found.ms[0], found.ms[-1], found.share[-1]) == (1.0, 9_900.0, 0.99)
    assert (found.missing, found.frames) == (100, 10_000)
    # The slowest frames are all drawn: there a picture of the tail lives.
    assert set(range(9_897, 9_901)) <= set(found.ms.tolist())


def test_few_frames_are_all_drawn() -> None:
    found = curves.distribution(np.array([30.0, 10.0, np.inf, 20.0]))
    assert (found.ms.tolist(), found.share.tolist(), found.missing) == ([10, 20, 30], [0.25, 0.5, 0.75], 1)


@pytest.mark.parametrize(("latency_ms", "missing"), [([], 0), ([np.inf] * 3, 3)])
def test_a_distribution_of_nothing_has_no_points(latency_ms: list[float], missing: int) -> None:
    found = curves.distribution(np.array(latency_ms))
    assert (len(found.ms), len(found.share), found.missing) == (0, 0, missing)


def test_a_series_counts_by_second_what_was_due_and_what_was_seen() -> None:
    rows = [answered("gateway", number * 100, 950 if number < 10 else 10) for number in range(20)]
    found = curves.series(frames(rows))
    assert found is not None
    assert (found.period_s, found.start_s.tolist(), found.offered_hz.tolist()) == (1, [0, 1], [10, 10])
    gateway = found.tiers["gateway"]
    # Of the first ten, due until 0.9 s and seen 0.95 s later, only the first came within its second.
    assert gateway.results_hz.tolist() == [1, 19]
    assert gateway.outstanding.tolist() == [9, 0]
    assert gateway.p50_ms.tolist() == [950, 10]
    assert found.high is None, "ten frames a second carry no p90"


def test_percentiles_by_second_are_by_nearest_rank_and_need_their_samples() -> None:
    many = [answered("gateway", number, number + 1) for number in range(500)]
    few = [answered("gateway", 1_000 + number, 5) for number in range(6)]
    found = curves.series(frames([*many, *few]))
    assert found is not None
    assert found.high == 90, "an ordinary second, here the middle of 500 and 6, has 253"
    assert found.tiers["gateway"].p50_ms[0] == 250
    assert found.tiers["gateway"].high_ms[0] == 450
    assert math.isnan(found.tiers["gateway"].p50_ms[1])


def test_a_missing_frame_is_infinitely_late_and_stays_outstanding() -> None:
    rows = [*(answered("gateway", number, 5) for number in range(3)), *(unanswered("gateway", 9) for _ in range(5))]
    found = curves.series(frames(rows))
    assert found is not None
    assert found.tiers["gateway"].outstanding.tolist() == [5]
    assert found.tiers["gateway"].p50_ms.tolist() == [math.inf]


def test_a_frame_dropped_at_its_source_was_offered_and_is_owed_by_nobody() -> None:
    found = frames([answered("gateway", 0, 5), unanswered("gateway", 1, fate=Fate.DROPPED)])
    assert len(found.offered_ns) == 2
    assert found.tiers["gateway"].latency_ms.tolist() == [5]


def test_a_long_run_is_grouped_by_more_than_a_second() -> None:
    found = curves.series(frames([answered("gateway", 0, 1), answered("gateway", 59_999, 1)]), at_most=30)
    assert found is not None
    assert (found.period_s, len(found.start_s), found.offered_hz.sum()) == (3, 21, pytest.approx(2 / 3))


def test_what_was_seen_before_the_start_belongs_to_the_first_second() -> None:
    found = curves.series(frames([answered("gateway", 0, -50), answered("gateway", 1_500, 1)]))
    assert found is not None
    assert found.tiers["gateway"].results_hz.tolist() == [1, 1]


def test_nothing_due_makes_no_series() -> None:
    assert curves.series(frames([])) is None


def test_latencies_are_of_the_frames_due_after_the_warm_up() -> None:
    found = frames([answered("gateway", number * 500, number) for number in range(6)])
    assert found.measured_ms("gateway", warm_up_s=0).tolist() == [0, 1, 2, 3, 4, 5]
    assert found.measured_ms("gateway", warm_up_s=1).tolist() == [2, 3, 4, 5]


def test_a_confusion_matrix_counts_true_classes_by_row() -> None:
    rows = [
        answered("gateway", 0, 1, truth=0, label=1),
        answered("gateway", 1, 1, truth=0, label=1),
        answered("gateway", 2, 1, truth=1, label=1),
        dict(answered("gateway", 3, 1, truth=1, label=1), right_image=False),
        answered("gateway", 4, 1, truth=None, label=1),
        unanswered("gateway", 5),
    ]
    assert curves.confusion(frames(rows).tiers["gateway"], classes=2).tolist() == [[0, 2], [0, 1]]


def test_a_label_beyond_the_known_classes_widens_the_matrix() -> None:
    found = curves.confusion(frames([answered("gateway", 0, 1, truth=0, label=3)]).tiers["gateway"], classes=2)
    assert found.shape == (4, 4)
    assert curves.confusion(frames([]).tiers["gateway"], classes=2).tolist() == [[0, 0], [0, 0]]


def test_a_series_as_a_table_says_infinite_and_not_measured() -> None:
    rows = [*(unanswered("gateway", number) for number in range(7)), answered("gateway", 1_500, 2)]
    found = curves.series(frames(rows))
    assert found is not None
    grid = grids.periods(found)
    assert list(grid.head) == ["from second", "offered/s", "gateway results/s", "gateway outstanding", "gateway p50 ms"]
    assert [list(row) for row in grid.rows] == [["0", "7.0", "0.0", "7", "infinite"], ["1", "1.0", "1.0", "7", "n/a"]]
