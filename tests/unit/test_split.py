"""Frames that go to one tier each: the rule, and a ledger that counts each for its own tier alone."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from compare import scenario
from compare.reports import alike, comparison, curves, page, same_frames, sentences
from compare.reports.same_frames import Same
from compare.runs.ran import Ran
from compare.scenario import Cluster, Gateway, Placement, Scenario, order
from consumers.ledger.rules import OTHERS
from consumers.ledger.run import LedgerSettings
from consumers.ledger.table import Fate
from edgewise import split
from edgewise.account import Closing
from edgewise.arrivals import Trace
from edgewise.errors import ConfigError
from edgewise.messages import Tier
from edgewise.statistics import wilson
from producers.fleet.schedule import asked
from tests.fakes import FRAME
from tests.tables import BOTH, Told, causes
from tests.unit.test_ledger import Tale, plan
from tests.unit.test_report import printed

GATEWAY, CLUSTER = BOTH
SEED: Final = 7
FIRST: Final = {
    (1, "camera-0"): "cgccccggggcgcgccgccgggcg",
    (1, "camera-1"): "ccggcggccggggggcgcggcggg",
    (2, "camera-0"): "ggggcgggcgccggccgccgggcc",
    (0, "a"): "gccccgcgcccccgccgccggggc",
    (2**63, "yard-12"): "cggcggccggccccgcgccgggcg",
}
"""Of the numbers from 0, whose each is: g is the gateway's, c the cluster's. Recorded runs rely on it."""
FAR: Final = (99, 100, 9_999_999, 2**31, 2**63 - 1)
OF_FAR: Final = "ccggg"
"""The same of these numbers, of camera-0 with seed 1."""


def owners(camera: str, numbers: Iterable[int], *, seed: int) -> str:
    return "".join(split.owner(camera, number, seed=seed)[0] for number in numbers)


def signs(camera: str, *, seed: int, frames: int = 2400) -> NDArray[np.int64]:
    """Give 1 for each frame of the cluster's and -1 for each of the gateway's."""
    return np.where(split.owned(CLUSTER, camera, frames=frames, seed=seed), 1, -1)


# --- the rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "camera"), FIRST)
def test_the_rule_is_what_it_was(seed: int, camera: str) -> None:
    assert owners(camera, range(24), seed=seed) == FIRST[seed, camera]


def test_the_rule_is_what_it_was_for_numbers_that_no_run_reaches() -> None:
    assert owners("camera-0", FAR, seed=1) == OF_FAR


@pytest.mark.parametrize(("seed", "camera"), FIRST)
def test_a_whole_schedule_is_divided_as_frame_by_frame(seed: int, camera: str) -> None:
    one_by_one = [split.owner(camera, number, seed=seed) is CLUSTER for number in range(1200)]
    assert split.owned(CLUSTER, camera, frames=1200, seed=seed).tolist() == one_by_one
    assert (~split.owned(GATEWAY, camera, frames=1200, seed=seed)).tolist() == one_by_one
    assert split.owned(GATEWAY, camera, frames=0, seed=seed).tolist() == []


def test_without_a_seed_every_frame_is_every_tiers() -> None:
    for tier in Tier:
        assert split.owned(tier, "camera-0", frames=3, seed=None).tolist() == [True] * 3
        assert split.owns(tier, FRAME, seed=None)
    assert [split.owns(tier, FRAME, seed=SEED) for tier in Tier].count(True) == 1


def test_both_tiers_get_half_of_the_frames_and_of_each_stretch() -> None:
    for seed in range(20):
        for camera in ("camera-0", "camera-1", "yard-12"):
            both = signs(camera, seed=seed)
            # Sums of so many signs of chance: beyond four standard deviations lies one in 16,000.
            assert abs(both.sum()) < 4 * np.sqrt(len(both))
            assert abs(both.reshape(-1, 100).sum(axis=1)).max() < 4.5 * np.sqrt(100)


def test_what_comes_next_does_not_follow_from_what_came() -> None:
    lags = (1, 2, 4, 5, 10, 20, 100, 1000)
    for seed in range(20):
        one, other = signs("camera-0", seed=seed), signs("camera-1", seed=seed)
        agreement = [one @ other, one @ signs("camera-0", seed=seed + 1)]
        agreement += [one[:-lag] @ one[lag:] for lag in lags]
        assert max(map(abs, agreement)) < 4.5 * np.sqrt(len(one))


def test_the_check_sums_own_parity_would_be_a_pattern() -> None:
    parity = np.array([zlib.crc32(f"{SEED}/camera-0/{number}".encode()) & 1 for number in range(100, 1000)])
    assert abs(np.where(parity[:-100], 1, -1) @ np.where(parity[100:], 1, -1)) == 800


# --- the ledger, record by record -----------------------------------------------------------------

MINE: Final = {tier: [n for n in range(10) if split.owner("yard-0", n, seed=SEED) is tier] for tier in Tier}
"""Numbers of yard-0's ten frames by the tier that they belong to."""


def told(answers: Mapping[Tier, Sequence[int]]) -> Tale:
    """Tell a run of ten frames, all sent and in Kafka, of which these have a result of these tiers."""
    tale = Tale()
    tale.collected.split_seed = SEED
    tale.account()
    tale.close()
    for number in range(10):
        tale.frame(number)
    for tier, numbers in answers.items():
        for number in numbers:
            tale.result(number, tier=tier)
    return tale


def test_a_frame_is_owed_by_its_own_tier_alone() -> None:
    tale = told(MINE)
    rows = tale.table(BOTH).to_pylist()
    assert [(row["number"], row["tier"]) for row in rows] == [
        (number, tier) for tier in BOTH for number in range(10) if number in MINE[tier]
    ]
    found = tale.summary(BOTH)
    assert (found.verdict, found.reasons, found.split_seed, found.paired) == ("VALID", [], SEED, None)
    assert {name: (one.results, one.missing, one.accuracy) for name, one in found.tiers.items()} == {
        tier.value: (len(MINE[tier]), 0, 1.0) for tier in BOTH
    }
    assert tale.collected.complete(BOTH)
    assert all(tale.collected.complete([tier]) for tier in BOTH)


def test_what_a_tier_did_not_answer_is_missing_there_and_nowhere_else() -> None:
    tale = told({GATEWAY: MINE[GATEWAY], CLUSTER: MINE[CLUSTER][1:]})
    found = tale.summary(BOTH)
    assert causes(found) == {"missing in cluster": []}
    assert found.tiers["cluster"].missing_by_last_place == {Fate.UNANSWERED: 1}
    assert not tale.collected.complete(BOTH)
    assert tale.collected.complete([GATEWAY])


def test_an_answer_to_another_tiers_frame_breaks_a_rule_and_counts_nowhere() -> None:
    tale = told({GATEWAY: range(10), CLUSTER: MINE[CLUSTER]})
    found = tale.summary(BOTH)
    (reason,) = found.reasons
    assert (reason.rule, reason.found, reason.limit) == (f"{OTHERS} in gateway", len(MINE[CLUSTER]), 0)
    assert "--split" in reason.next
    assert found.tiers["gateway"].results == len(MINE[GATEWAY])
    assert tale.table(BOTH).num_rows == 10


def test_answers_to_other_tiers_frames_stand_in_for_none_of_their_own() -> None:
    tale = told({GATEWAY: MINE[CLUSTER], CLUSTER: MINE[GATEWAY]})
    assert not tale.collected.complete(BOTH)
    found = tale.summary(BOTH)
    assert causes(found) == {f"{OTHERS} in {tier}": [f"missing in {tier}"] for tier in BOTH}
    assert {one.results for one in found.tiers.values()} == {0}


def test_a_frame_that_no_plan_knows_is_no_other_tiers() -> None:
    tale = told(MINE)
    for camera, number in (("yard-9", 0), ("yard-0", 10)):
        for tier in BOTH:
            tale.result(number, camera=camera, tier=tier)
    assert tale.summary(BOTH).verdict == "VALID"


def test_without_a_split_no_frame_is_another_tiers() -> None:
    tale = told({tier: range(10) for tier in BOTH})
    tale.collected.split_seed = None
    found = tale.summary(BOTH)
    assert (found.verdict, found.split_seed) == ("VALID", None)
    assert found.paired is not None
    assert found.paired.frames == 10


def test_a_tier_that_no_frame_fell_to_is_no_tier_without_results() -> None:
    tale = Tale(plan(frames=1))
    tale.collected.split_seed = SEED
    tale.account(sent=[(0, 0)])
    tale.close()
    tale.frame(0)
    owner = split.owner("yard-0", 0, seed=SEED)
    tale.result(0, tier=owner)
    found = tale.summary(BOTH)
    assert (found.verdict, found.tiers[owner].results) == ("VALID", 1)


def test_only_what_its_frames_weigh_is_a_tiers_uplink() -> None:
    tale = told(MINE)
    rows = tale.table(BOTH).to_pylist()
    weights = {"gateway": "result_bytes", "cluster": "size_bytes"}
    for name, one in tale.summary(BOTH).tiers.items():
        assert one.uplink_bytes == sum(row[weights[name]] for row in rows if row["tier"] == name)
    assert tale.summary(BOTH).tiers["cluster"].uplink_bytes * len(MINE[CLUSTER]) > 0


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (len(MINE[GATEWAY]), {"results lost after cluster": ["missing in cluster"]}),
        (len(MINE[GATEWAY]) + 1, {"missing in cluster": []}),
        (None, {"missing in cluster": []}),
    ],
    ids=["it answered them", "it left one too many", "it does not know"],
)
def test_frames_that_the_cluster_left_are_no_answers_of_it(left: int | None, expected: dict[str, list[str]]) -> None:
    tale = told({GATEWAY: MINE[GATEWAY], CLUSTER: MINE[CLUSTER][:-1]})
    said = {"frames": 10, "left_to_others": left}
    tale.entry(Closing(run=tale.collected.run, part="cluster", name="cluster", summary=said))
    assert causes(tale.summary(BOTH)) == expected


# --- the ledger, on as many frames as its rules want ----------------------------------------------


def test_a_long_run_is_valid_and_each_figure_is_of_a_tiers_own_frames() -> None:
    run = Told(split_seed=SEED)
    found = run.summary()
    assert (found.verdict, found.reasons, found.paired) == ("VALID", [], None)
    owed = {tier: run.owned(tier) for tier in BOTH}
    assert (owed[GATEWAY] ^ owed[CLUSTER]).all()
    warm_up = found.warm_up
    assert warm_up is not None
    assert warm_up.frames == int((run.after_s < warm_up.lasted_s).sum())
    for tier in BOTH:
        one, mine = found.tiers[tier], owed[tier]
        right = int((run.answers[tier].right & mine).sum())
        assert (one.results, one.missing, one.correct) == (int(mine.sum()), 0, right)
        assert one.accuracy == pytest.approx(right / mine.sum())
        within = wilson(right, int(mine.sum()))
        assert within is not None
        assert one.accuracy_interval is not None
        assert one.accuracy_interval.low == pytest.approx(within.low, abs=1e-5)
        measured = mine & (run.after_s >= warm_up.lasted_s)
        assert one.measured == int(measured.sum())
        assert one.on_time == pytest.approx(run.answers[tier].right[measured].mean(), abs=1e-6)
        assert one.throughput_hz == pytest.approx(30, rel=0.1)
        assert one.backlog is not None
        assert one.backlog.offered_hz == pytest.approx(30, rel=0.1)
        assert one.worst_camera is not None
        assert one.worst_camera.frames < 400
        assert one.starved_cameras == 0


def test_a_camera_that_one_tier_forgets_starves_there() -> None:
    run = Told(split_seed=SEED)
    run.answers[CLUSTER].miss(run.camera == 2)
    found = run.summary()
    assert causes(found) == {"starving camera in cluster": ["missing in cluster"]}
    assert found.tiers["cluster"].missing == int((run.owned(CLUSTER) & (run.camera == 2)).sum())
    assert found.tiers["gateway"].missing == 0


@pytest.mark.parametrize("late", BOTH)
def test_cameras_that_were_late_with_any_tiers_frames_are_found(late: Tier) -> None:
    run = Told(split_seed=SEED)
    run.answers[late].shift("sent", "bridged", "appended", "received", "started", "inferred", by_s=0.1)
    run.answers[late].shift("result_appended", "seen", by_s=0.1)
    assert "late generator" in causes(run.summary())


def test_frames_of_another_data_set_are_all_counted() -> None:
    tale = told(MINE)
    tale.entry(plan(dataset_sha256="0" * 64))
    (reason,) = tale.summary(BOTH).reasons
    assert (reason.rule, reason.found) == ("other data set", 10)


# --- what is made of it ---------------------------------------------------------------------------

SUMMARY: Final = Told(split_seed=SEED).summary()


def test_the_report_says_that_the_frames_are_different_ones() -> None:
    text = printed(SUMMARY)
    assert sentences.SPLIT in text
    assert sentences.NOT_KNOWN in " ".join(text.split())
    assert "The same frames on both tiers" not in text
    assert "McNemar" not in text
    assert "Of the same frame" not in text


def test_the_page_says_so_too_and_draws_what_was_offered_to_both() -> None:
    run = Told(split_seed=SEED)
    frames = curves.grouped(run.table(), tiers=list(SUMMARY.tiers), split=True)
    assert sorted(frames.offered_ns.tolist()) == sorted(run.due_ns.tolist())
    text = page.rendered(SUMMARY, frames, manifest={})
    assert text.count(sentences.SPLIT) == 1
    assert sentences.NOT_KNOWN in text
    assert "One tier ran alone" not in text
    assert "McNemar" not in text


def test_the_page_names_no_winner_though_each_tier_has_its_cores() -> None:
    text = page.rendered(SUMMARY.model_copy(update={"co_located": False}), None, manifest={})
    assert sentences.SPLIT in text
    assert "no winner" not in text
    assert "faster" not in text


def test_a_run_with_all_frames_has_not_the_same_frames_in_a_tier() -> None:
    whole, halves, others = (Told(split_seed=seed).table() for seed in (None, SEED, SEED + 1))
    assert same_frames.same(halves, halves) == Same(schedule=True, images=True)
    for one, other in ((whole, halves), (halves, whole), (halves, others)):
        assert same_frames.same(one, other) == Same(schedule=False, images=False)


def test_comparisons_of_halves_and_of_all_frames_have_other_schedules() -> None:
    settings: dict[str, object] = dict.fromkeys(alike.IMAGES, 1)
    facts = [
        alike.Facts(verdict="VALID", models={"gateway": "m"}, deadline_ms=500, settings=settings | {"placement": one})
        for one in ("both", "split")
    ]
    assert [one.what for one in alike.obstacles(*facts, same=Same())] == ["other schedule", "other images"]
    assert list(alike.obstacles(facts[1], facts[1], same=Same())) == []


def test_a_run_of_halves_can_be_sent_again_as_a_whole(tmp_path: Path) -> None:
    for seed in (None, SEED):
        run = Told(split_seed=seed, cameras=2, frames=20)
        pq.write_table(run.table(), tmp_path / "frames.parquet")
        trace = asked(f"trace:{tmp_path / 'frames.parquet'}").arrival
        assert isinstance(trace, Trace)
        found = np.concatenate([trace.due_ns(index) for index in range(2)])
        assert found.tolist() == (run.due_ns - run.due_ns.min()).tolist()


# --- a comparison run -----------------------------------------------------------------------------

APART: Final = Scenario(placement=Placement.SPLIT, repeats=3, gateway=Gateway(cores=(0,)), cluster=Cluster(cores=(1,)))


def test_a_split_is_one_round_with_both_tiers() -> None:
    assert order(scenario.read("laptop", sets=["placement=split", "repeats=2"])) == [BOTH, BOTH]


def test_a_search_does_not_split() -> None:
    with pytest.raises(ConfigError, match='a search runs one tier at a time: placement = "alternate", not "split"'):
        scenario.read("laptop", sets=["search.kind=capacity", "placement=split"])


def compared(wanted: Scenario) -> comparison.Comparison:
    return comparison.compared(wanted, [Ran(f"run-{number}", BOTH, SUMMARY) for number in range(3)])


def test_a_split_names_a_winner_only_where_each_tier_has_its_cores() -> None:
    assert compared(APART).no_winner is None
    shared = compared(Scenario(placement=Placement.SPLIT, repeats=3))
    assert shared.no_winner is not None
    assert shared.no_winner.startswith("co-located: ")


def test_the_schema_keeps_a_seed_from_being_below_zero() -> None:
    with pytest.raises(ValidationError):
        LedgerSettings(kafka="none:1", run="one", out=Path(), split_seed=-1)
