"""Both tiers on the same frames, one tier at a time: what differs is of the frames, and not of how often they ran."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from rich.console import Console

from compare.reports import comparison_page, comparison_shown
from compare.reports.comparison import Comparison, Figure, answer, compared
from compare.reports.spread import Spread, spread
from compare.runs.ran import UNFINISHED, Ran
from compare.scenario import Cluster, Gateway, Placement, Scenario
from edgewise.messages import Tier
from edgewise.summary import Interval
from tests.tables import Told

ALTERNATE: Final = Scenario(placement=Placement.ALTERNATE, repeats=3)
FRAMES: Final = 2400
Change = Callable[[Told, Tier, int], None]


def nothing(_: Told, __: Tier, ___: int) -> None:
    """Leave a run as it is."""


def ran(tier: Tier, repeat: int, change: Change = nothing) -> Ran:
    """Give one run: its frames show images that differ, in the order of the schedule."""
    told = Told(tiers=(tier,))
    change(told, tier, repeat)
    return replace(told.ran(f"{tier}-{repeat}"), frames=lambda: with_images(told))


def with_images(told: Told):  # type: ignore[no-untyped-def]  # noqa: ANN201 - pyarrow ships no types
    table = told.table()
    place = table.schema.get_field_index("image")
    return table.set_column(place, table.schema.field(place), [np.arange(table.num_rows) % FRAMES])


def alternated(change: Change = nothing, *, repeats: int = 3) -> list[Ran]:
    return [ran(tier, repeat, change) for repeat in range(repeats) for tier in Tier]


def figure(found: Comparison, name: str) -> Figure:
    return next(one for one in found.figures if one.name == name)


def contrast(found: Comparison, name: str) -> Spread:
    assert found.paired is not None
    return next(one.spread for one in found.paired.figures if one.name == name)


def wrong_in_cluster(count: int) -> Change:
    """Let the cluster give some wrong answers, the same ones in each repeat."""

    def change(told: Told, tier: Tier, _: int) -> None:
        if tier is Tier.CLUSTER:
            right = np.flatnonzero(told.answers[tier].right)
            told.answers[tier].right[right[:: len(right) // count][:count]] = False

    return change


# --- accuracy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [1, 5])
def test_a_few_wrong_answers_that_each_repeat_gives_again_are_no_win(wrong: int) -> None:
    found = compared(ALTERNATE, alternated(wrong_in_cluster(wrong)))
    accuracy = figure(found, "accuracy")
    assert accuracy.tiers["gateway"].min > accuracy.tiers["cluster"].max, "each repeat says so"
    assert accuracy.better is None
    assert "no difference shown in" in answer(found)
    assert found.paired is not None
    assert (found.paired.only_gateway_right, found.paired.only_cluster_right) == (wrong, 0)
    assert found.paired.mcnemar_p == pytest.approx(min(1, 2 * 0.5**wrong))


def test_many_wrong_answers_on_the_same_images_are_a_win() -> None:
    found = compared(ALTERNATE, alternated(wrong_in_cluster(20)))
    assert figure(found, "accuracy").better == "gateway"
    lost = contrast(found, "accuracy difference")
    assert lost.values == [pytest.approx(-100 * 20 / FRAMES, abs=1e-3)] * 3
    assert lost.interval.low < lost.median < lost.interval.high < 0


def test_more_repeats_of_the_same_answers_make_an_accuracy_no_surer() -> None:
    three, nine = (compared(ALTERNATE, alternated(wrong_in_cluster(5), repeats=repeats)) for repeats in (3, 9))
    assert contrast(three, "accuracy difference").interval == contrast(nine, "accuracy difference").interval
    assert figure(nine, "accuracy").better is None


def test_two_repeats_name_no_winner_and_are_paired_all_the_same() -> None:
    found = compared(ALTERNATE.model_copy(update={"repeats": 2}), alternated(wrong_in_cluster(20), repeats=2))
    assert found.no_winner == "2 of at least 3 repeats"
    assert {one.better for one in found.figures} == {None}
    assert contrast(found, "accuracy difference").interval.high < 0


# --- time ---------------------------------------------------------------------------------------


def cold_cluster(told: Told, tier: Tier, _: int) -> None:
    """Let the cluster be late by seconds for its first third, which its warm-up takes out."""
    if tier is Tier.CLUSTER:
        told.answers[tier].wait(np.maximum(0, 12 - told.after_s) * 400)


def hard_in_the_beginning(told: Told, tier: Tier, repeat: int) -> None:
    """Let the first third of the images be hard for both."""
    cold_cluster(told, tier, repeat)
    told.answers[tier].right[(told.after_s < 12) & (np.arange(FRAMES) % 2 == 0)] = False


def test_tiers_are_compared_on_the_frames_that_are_after_the_warm_up_in_both() -> None:
    runs = alternated(hard_in_the_beginning)
    shares = [one.summary.tiers[one.tiers[0]].on_time for one in runs if one.summary is not None]
    assert shares[1] is not None
    assert shares[0] is not None
    assert shares[1] > shares[0] + 0.05, "each run's own share is of other frames"
    found = compared(ALTERNATE, runs)
    on_time = figure(found, "right and on time")
    assert on_time.tiers["gateway"].values == on_time.tiers["cluster"].values
    assert on_time.better is None
    assert found.from_s is not None
    assert found.from_s >= 10


def late_now_and_then(told: Told, tier: Tier, repeat: int) -> None:
    """Let one queue make the cluster late in each repeat, each time somewhere else."""
    if tier is Tier.CLUSTER:
        begins_s = 20 + 5 * repeat
        told.answers[tier].wait(np.where((told.after_s > begins_s) & (told.after_s < begins_s + 1), 1000.0, 0.0))


def test_one_queue_in_a_repeat_is_no_win_and_a_late_answer_every_few_seconds_is() -> None:
    assert figure(compared(ALTERNATE, alternated(late_now_and_then)), "right and on time").better is None

    def change(told: Told, tier: Tier, _: int) -> None:
        if tier is Tier.CLUSTER:
            told.answers[tier].wait(np.where(told.after_s % 2 < 0.2, 1000.0, 0.0))

    assert figure(compared(ALTERNATE, alternated(change)), "right and on time").better == "gateway"


def test_runs_one_after_the_other_are_paired_frame_by_frame() -> None:
    def change(told: Told, tier: Tier, repeat: int) -> None:
        if tier is Tier.CLUSTER:
            told.answers[tier].wait(np.full(FRAMES, 10.0 * repeat))
            told.answers[tier].miss(np.arange(FRAMES) == 2000)

    found = compared(ALTERNATE, alternated(change, repeats=2))
    assert found.verdict == "INVALID", "a frame is missing"
    assert found.paired is None, "of INVALID runs nothing is compared"

    def later(told: Told, tier: Tier, repeat: int) -> None:
        if tier is Tier.CLUSTER:
            told.answers[tier].wait(np.full(FRAMES, 10.0 * repeat))

    found = compared(ALTERNATE, alternated(later))
    p50 = contrast(found, "latency difference p50")
    assert np.diff(p50.values) == pytest.approx([10, 10], abs=1e-6)
    assert p50.median == pytest.approx(240, abs=5)
    assert p50.interval.low <= p50.min < p50.max <= p50.interval.high
    assert contrast(found, "agreement").values == [100, 100, 100]
    assert found.paired is not None
    assert found.paired.frames == [FRAMES] * 3


# --- what must be the same ----------------------------------------------------------------------


def test_alternating_runs_of_different_models_are_not_compared() -> None:
    def change(told: Told, tier: Tier, _: int) -> None:
        told.answers[tier].model = "cifar_cnn@0123456789ab" if tier is Tier.CLUSTER else "resnet20@0123456789ab"

    runs = alternated(change)
    assert {one.verdict for one in runs} == {"VALID"}
    found = compared(ALTERNATE, runs)
    assert (found.verdict, [one.rule for one in found.reasons]) == ("INVALID", ["different models"])
    assert found.reasons[0].found == "gateway ran resnet20@0123456789ab; cluster ran cifar_cnn@0123456789ab"
    assert {one.better for one in found.figures} == {None}
    assert answer(found) == "None: different models, so these numbers must not be compared."


def test_runs_of_different_data_are_not_compared() -> None:
    runs = alternated()
    first = runs[0].summary
    assert first is not None
    images = {name: one.model_copy(update={"sha256": "f" * 64}) for name, one in first.images.items()}
    runs[0] = replace(runs[0], summary=first.model_copy(update={"images": images}))
    assert [one.rule for one in compared(ALTERNATE, runs).reasons] == ["different data sets"]


def test_runs_of_other_frames_are_not_compared() -> None:
    runs = alternated()
    runs[-1] = replace(runs[-1], frames=Told(tiers=(Tier.CLUSTER,)).table)  # all of one image
    found = compared(ALTERNATE, runs)
    assert (found.verdict, [one.rule for one in found.reasons]) == ("INVALID", ["different frames"])


def test_tiers_at_the_same_time_are_paired_too_and_those_of_a_split_are_not() -> None:
    apart = {"gateway": Gateway(cores=(0,)), "cluster": Cluster(cores=(1,)), "repeats": 3}
    found = compared(Scenario(placement=Placement.BOTH, **apart), [Told().ran()] * 3)  # type: ignore[arg-type]
    assert contrast(found, "agreement").median == 100
    split = Told(split_seed=5)
    wrong = np.flatnonzero(split.answers[Tier.CLUSTER].right)[::3]
    split.answers[Tier.CLUSTER].right[wrong] = False
    parted = compared(Scenario(placement=Placement.SPLIT, **apart), [split.ran()] * 3)  # type: ignore[arg-type]
    assert parted.paired is None
    assert figure(parted, "accuracy").better == "gateway", "by Newcombe's interval: other frames"


def test_runs_that_were_ended_early_are_kept_and_not_compared() -> None:
    found = compared(ALTERNATE, alternated(repeats=1), ended=UNFINISHED)
    assert (found.verdict, found.reasons[0].rule, len(found.runs), found.paired) == ("INVALID", "not finished", 2, None)
    assert figure(found, "latency p50").tiers["gateway"].values, "what is known stands there"
    died = Ran("folder", ("gateway",), None, UNFINISHED.model_copy(update={"rule": "ledger died"}))
    of_dead = compared(ALTERNATE, [*alternated(repeats=1), died])
    assert (of_dead.runs[-1].verdict, of_dead.reasons[0].rule) == ("INVALID", "ledger died")
    assert "1 of 3 runs are INVALID" in answer(of_dead)


# --- as it is shown -----------------------------------------------------------------------------


def test_the_pairs_are_shown_in_100_columns_and_on_the_page() -> None:
    found = compared(ALTERNATE, alternated(wrong_in_cluster(20)))
    console = Console(width=100, no_color=True)
    with console.capture() as shown:
        console.print(comparison_shown.rendered(found))
    text = " ".join(shown.get().split())
    page = comparison_page.rendered(found, runs={})
    for said in ("accuracy difference, points", "latency difference p50, ms", "agreement, %", "McNemar"):
        assert said in text
        assert said in page
    assert "the gateway got 20 right oftener, the cluster 0" in text


def test_a_spread_is_as_wide_as_its_frames_allow() -> None:
    found = spread([90.0, 90.0, 90.0], Interval(low=88, high=92), None)
    assert (found.interval.low, found.interval.high, found.min, found.max) == (88, 92, 90, 90)
