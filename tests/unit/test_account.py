"""The schedule that never slips, and the account as it travels."""

import json
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise import account
from edgewise.account import CameraAccount, Closing, Entry, Opening, Plan, ranges, unfolded
from edgewise.arrivals import packed
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.messages import Codec
from edgewise.parts import close_account, open_account
from tests.fakes import MemoryProducer

START_NS: Final = 1_763_000_000_123_456_789
PLAN: Final = Plan(
    run="2025-11-21-demo",
    fleet="camera",
    start_ns=START_NS,
    seed=1,
    cameras=4,
    rate_hz=30,
    frames=1000,
    dataset="cifar10",
    split="test",
    images=10_000,
    dataset_sha256="8193b3fb",
    codec=Codec.RAW,
    drop_after_s=5,
    version="0.1.0",
)
CAMERA: Final = CameraAccount(
    run="2025-11-21-demo",
    camera="camera-0",
    sent=[(0, 7)],
    confirmed=[(0, 3), (5, 7)],
    unheard=[],
    refused=[],
    dropped=[],
)
OPENING: Final = Opening(
    run="2025-11-21-demo", part="cluster", name="cluster", ready_ns=START_NS, facts={"startup_s": 21.5}
)
CLOSING: Final = Closing(run="2025-11-21-demo", part="bridge", name="bridge", summary={"frames": 8, "cpu_s": 0.5})


def changed(**changes: object) -> Plan:
    return PLAN.model_copy(update=changes)


def test_a_plan_has_a_class_for_each_picture_or_is_none() -> None:
    own = {"dataset": "pictures", "images": 3, "labels": packed(np.array([7, 0, 9]))}
    plan = Plan.model_validate(PLAN.model_dump() | own)
    assert account.decode(account.encode(plan)) == plan
    for wrong in ({"images": 4}, {"labels": "AAAA"}, {"labels": "x"}, {"skipped": -1}):
        told = json.loads(account.encode(plan)) | wrong
        assert account.decode(json.dumps(told).encode()) is None, wrong


def test_the_schedule_never_drifts() -> None:
    due_ns = changed(frames=1_000_000, rate_hz=30).due_ns(0)
    ideal_ns = due_ns[0] + np.arange(1_000_000) * SECOND_NS / 30
    assert np.abs(due_ns - ideal_ns).max() <= 256  # as fine as a float of today's moment can say


def test_each_frame_is_due_at_its_whole_nanosecond_wherever_the_clock_stands() -> None:
    early, late = changed(start_ns=0).due_ns(2), PLAN.due_ns(2)
    assert (late - early == START_NS).all()


@given(st.integers(0, 2**32), st.integers(0, 10_000), st.floats(0.01, 1000))
def test_a_phase_is_at_least_zero_and_less_than_a_period(seed: int, index: int, rate_hz: float) -> None:
    phase_ns = int(changed(seed=seed, rate_hz=rate_hz, frames=1).due_ns(index)[0]) - START_NS
    assert 0 <= phase_ns <= SECOND_NS / rate_hz


def test_phases_spread_over_the_period() -> None:
    phases = np.array([changed(rate_hz=1, frames=1).due_ns(index)[0] - START_NS for index in range(200)]) / SECOND_NS
    assert len(set(phases.tolist())) == 200
    assert 0.4 < phases.mean() < 0.6


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another() -> None:
    again = Plan.model_validate_json(PLAN.model_dump_json())
    assert (again.due_ns(3) == PLAN.due_ns(3)).all()
    assert (changed(seed=2).due_ns(3) != PLAN.due_ns(3)).all()


def test_a_seed_means_the_same_for_ever() -> None:
    plan = changed(order="shuffled", rate_hz=1)
    assert (plan.due_ns(0)[:2] - START_NS).tolist() == [511_821_625, 1_511_821_625]
    assert plan.image(1)[:4].tolist() == [9294, 4527, 5291, 8891]


def test_stored_order_deals_the_images_to_the_cameras_in_turn() -> None:
    dealt = [changed(frames=3).image(index).tolist() for index in range(4)]
    assert dealt == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


def test_a_schedule_longer_than_the_split_begins_it_again() -> None:
    assert changed(cameras=1, images=5, frames=7).image(0).tolist() == [0, 1, 2, 3, 4, 0, 1]


@pytest.mark.parametrize("order", ["stored", "shuffled"])
def test_all_cameras_together_send_every_image_once(order: str) -> None:
    plan = changed(order=order, cameras=4, frames=2500)
    sent = np.concatenate([plan.image(index) for index in range(4)])
    assert sorted(sent.tolist()) == list(range(10_000))


def test_a_permutation_is_worked_out_once_for_all_cameras_of_a_plan() -> None:
    plan = changed(order="shuffled", images=12_345, seed=77, cameras=1000, frames=2)
    before = account._shuffled.cache_info()  # noqa: SLF001
    for index in range(plan.cameras):
        plan.image(index)
    after = account._shuffled.cache_info()  # noqa: SLF001
    assert (after.misses - before.misses, after.hits - before.hits) == (1, plan.cameras - 1)


def test_shuffled_order_is_another_one_for_another_seed() -> None:
    one, other = changed(order="shuffled").image(0), changed(order="shuffled", seed=2).image(0)
    assert (one != PLAN.image(0)).any()
    assert (one != other).any()


@given(st.sets(st.integers(0, 199)))
def test_ranges_and_unfolded_are_each_other_backwards(numbers: set[int]) -> None:
    folded = ranges(sorted(numbers))
    assert set(np.flatnonzero(unfolded(folded, frames=200)).tolist()) == numbers
    for (_, last), (first, _) in pairwise(folded):
        assert first > last + 1


def test_ranges_fold_neighbours() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == [(0, 2), (5, 5), (7, 8)]
    assert ranges([]) == []


@pytest.mark.parametrize("entry", [PLAN, CAMERA, OPENING, CLOSING])
def test_an_entry_survives_the_way(entry: Entry) -> None:
    assert account.decode(account.encode(entry)) == entry


def test_an_entry_is_json_that_says_its_kind() -> None:
    assert json.loads(account.encode(CAMERA)) == {
        "kind": "camera",
        "run": "2025-11-21-demo",
        "camera": "camera-0",
        "sent": [[0, 7]],
        "confirmed": [[0, 3], [5, 7]],
        "unheard": [],
        "refused": [],
        "dropped": [],
    }


def test_a_part_opens_its_account_and_closes_it_at_the_same_name() -> None:
    producer, clock = MemoryProducer(), ManualClock(start_ns=START_NS)
    open_account(producer, part="cluster", name="one", run="tale", facts={"engine": "bigdl"}, clock=clock)
    close_account(producer, part="cluster", name="one", run="tale", summary={"batches": 3})
    opening, closing = (account.decode(sent.value) for sent in producer.sent)
    facts = {"engine": "bigdl"}
    assert opening == Opening(run="tale", part="cluster", name="one", ready_ns=START_NS, facts=facts)
    assert isinstance(closing, Closing)
    assert [sent.key for sent in producer.sent] == ["tale/opening/cluster/one", "tale/closing/cluster/one"]
    assert {sent.topic for sent in producer.sent} == {"runs"}


@given(st.binary(max_size=100))
def test_what_is_no_entry_is_passed_over(wire: bytes) -> None:
    assert account.decode(wire) is None


@pytest.mark.parametrize("wire", [b"", b"{}", b"null", b'{"kind": "plan"}', b'{"kind": "camera", "run": 1}', b"\xff"])
def test_what_is_nearly_an_entry_is_passed_over_too(wire: bytes) -> None:
    assert account.decode(wire) is None


def test_each_truth_has_a_key_of_its_own() -> None:
    assert account.key(PLAN) == "2025-11-21-demo/plan/camera"
    assert account.key(CAMERA) == "2025-11-21-demo/camera/camera-0"
    assert account.key(OPENING) == "2025-11-21-demo/opening/cluster/cluster"
    assert account.key(CLOSING) == "2025-11-21-demo/closing/bridge/bridge"
    other = CLOSING.model_copy(update={"part": "gateway"})
    assert account.key(other) != account.key(CLOSING)


def test_a_plan_names_its_cameras() -> None:
    assert [PLAN.camera(index) for index in (0, 3)] == ["camera-0", "camera-3"]


@pytest.mark.parametrize(
    "changes",
    [
        *({"rate_hz": rate_hz} for rate_hz in (0, -1, 1e-300, 1e999)),
        *({"cameras": cameras} for cameras in (0, -1, 100_001)),
        *({"frames": frames} for frames in (0, -1, 10_000_001)),
        *({"images": images} for images in (0, -5, 10**12)),
        *({"drop_after_s": drop_after_s} for drop_after_s in (0, -1, 1e999)),
        *({"seed": -1}, {"start_ns": -1}, {"start_ns": 10**30}),
        *({"fleet": fleet} for fleet in ("", "Yard", "y" * 41, "yard\n")),
        {"cameras": 100_000, "frames": 10_000_000},
        {"frames": 10_000_000, "rate_hz": 0.001},
    ],
)
def test_a_plan_that_nobody_could_keep_is_none(changes: dict[str, Any]) -> None:
    assert account.decode(account.encode(changed(**changes))) is None


def test_the_largest_plans_are_plans() -> None:
    for changes in ({"cameras": 100_000, "frames": 100}, {"cameras": 1, "frames": 10_000_000}):
        assert account.decode(account.encode(changed(**changes))) == changed(**changes)


@pytest.mark.parametrize(
    "sent",
    [[(-1, 3)], [(3, 2)], [(0, 10_000_000)], [(-(10**30), 10**30)], [(0, 9_999_999)] * 3],
)
def test_ranges_that_are_none_make_no_account(sent: list[tuple[int, int]]) -> None:
    assert account.decode(account.encode(CAMERA.model_copy(update={"sent": sent}))) is None


@pytest.mark.parametrize(("folded", "covered"), [([(8, 99)], [8, 9]), ([(20, 30)], []), ([(-3, 1)], [0, 1])])
def test_ranges_beyond_the_schedule_are_cut_off(folded: list[tuple[int, int]], covered: list[int]) -> None:
    assert np.flatnonzero(unfolded(folded, frames=10)).tolist() == covered
