"""An audit's checks on tiny tables: what passes, what fails and by which name; no model, no data set."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from rich.console import Console

from compare.audits import audit, audit_checks, audit_shown
from compare.audits.audit import Asked, Audit, Ran
from compare.audits.audit_checks import Answered, Finding, Whole
from compare.runs import runfolder
from consumers.ledger.table import SCHEMA, Fate
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.dataset import Split
from edgewise.errors import ConfigError
from edgewise.messages import Codec
from tests.unit.test_report import FULL

FRAMES: Final = 500
IMAGES: Final = np.random.default_rng(7).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
CLASSES: Final = np.arange(100) % 10
Row = Mapping[str, Any]


class Known(Ran):
    """A model that knows the class of every image it has seen through a codec; some it cannot decide."""

    def __init__(self, codec: Codec = Codec.RAW, *, ties: bool = False) -> None:
        super().__init__("known", "resnet20")
        self._seen = {one.tobytes(): place for place, one in enumerate(audit.pixels(IMAGES, codec=codec))}
        self._ties = ties

    def labels(self, images: NDArray[np.uint8]) -> Whole:
        return np.array([CLASSES[self._seen[one.tobytes()]] for one in images])

    def undecided(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.full(len(images), self._ties)


def group(*, wrong: int = 0) -> Answered:
    """Give answers that are all right but for the first few."""
    image = np.arange(FRAMES) % 100
    label = CLASSES[image].copy()
    label[:wrong] = (label[:wrong] + 1) % 10
    return Answered(
        "gateway",
        "known",
        "resnet20@0123456789ab",
        camera=["camera-0"] * FRAMES,
        number=np.arange(FRAMES),
        image=image,
        truth=CLASSES[image],
        label=label,
    )


# --- the same labels ----------------------------------------------------------------------------


@pytest.mark.parametrize("codec", list(Codec))
def test_the_models_own_labels_pass(codec: Codec) -> None:
    found = audit.same_labels(group(), Known(codec), IMAGES, codec=codec, asked=Asked(frames=200))
    assert (found.state, found.next, found.frames) == ("passed", "", ())
    assert found.found.startswith("200 of 200 frames (100.00 %) with known")
    assert ("JPEG" in found.found) == (codec is Codec.JPEG)
    assert found.numbers == {"frames": 200, "same": 200, "ties": 0, "share": 1.0}


def test_labels_that_the_model_does_not_give_are_counted_and_a_few_are_named() -> None:
    found = audit.same_labels(group(wrong=7), Known(), IMAGES, codec=Codec.RAW, asked=Asked(frames=FRAMES))
    assert (found.state, found.numbers["same"], found.numbers["share"]) == ("failed", 493, 0.986)
    assert len(found.frames) == audit_checks.SHOWN
    assert found.frames[0] == "camera-0 number 0, image 0: automobile in the run, airplane now"
    assert found.next


def test_one_changed_label_of_all_is_found() -> None:
    found = audit.same_labels(group(wrong=1), Known(), IMAGES, codec=Codec.RAW, asked=Asked(frames=10 * FRAMES))
    assert (found.state, len(found.frames)) == ("failed", 1)


def test_where_the_model_cannot_decide_another_label_is_no_other_answer() -> None:
    found = audit.same_labels(group(wrong=3), Known(ties=True), IMAGES, codec=Codec.RAW, asked=Asked(frames=FRAMES))
    assert (found.state, found.numbers["ties"], found.frames) == ("passed", 3, ())
    assert "3 of them but for a tie" in found.found


def test_a_sample_is_the_seeds() -> None:
    def differing(seed: int) -> tuple[str, ...]:
        asked = Asked(frames=20, seed=seed)
        return audit.same_labels(group(wrong=FRAMES), Known(), IMAGES, codec=Codec.RAW, asked=asked).frames

    assert differing(1) == differing(1)
    assert differing(1) != differing(2)


def test_jpeg_is_not_what_the_camera_saw_and_the_others_are() -> None:
    for codec in Codec:
        assert np.array_equal(audit.pixels(IMAGES, codec=codec), IMAGES) == (codec is not Codec.JPEG)


# --- one image ----------------------------------------------------------------------------------


class Engine:
    """Takes a manual second for each image; for one that it has seen last, a part of that."""

    def __init__(self, clock: ManualClock, *, remembers: float) -> None:
        self._clock, self._remembers, self._last = clock, remembers, b""

    def __call__(self, images: NDArray[np.uint8]) -> None:
        for image in images:
            seen, self._last = image.tobytes() == self._last, image.tobytes()
            self._clock.advance(by_ns=round(SECOND_NS * (self._remembers if seen else 1)))


@pytest.mark.parametrize(("remembers", "state"), [(1.0, "passed"), (0.95, "passed"), (0.5, "failed"), (0.01, "failed")])
def test_an_engine_that_remembers_answers_is_found(remembers: float, state: str) -> None:
    clock = ManualClock()
    rates = audit.rates(Engine(clock, remembers=remembers), IMAGES, clock=clock, each_s=60)
    assert [len(one) for one in rates] == [audit.ROUNDS] * 2
    found = audit_checks.one_image("known", *rates)
    assert found.state == state
    assert found.numbers["ratio"] == pytest.approx(1 / remembers, rel=0.05)
    assert bool(found.next) == (state == "failed")


def test_one_disturbed_round_decides_nothing() -> None:
    steady = [100.0] * 11
    assert audit_checks.one_image("known", steady, [400.0, *steady[1:]]).state == "passed"


def test_the_limit_itself_is_allowed() -> None:
    assert audit_checks.one_image("known", [100.0], [110.0]).state == "passed"
    assert audit_checks.one_image("known", [100.0], [110.1]).state == "failed"


# --- shuffled truth -----------------------------------------------------------------------------


def test_shuffled_truth_leaves_chance() -> None:
    found = audit_checks.shuffled_truth(group(), seed=1)
    assert found.state == "passed"
    assert found.numbers["expected"] == pytest.approx(0.1)
    assert found.numbers["low"] <= found.numbers["share"] <= found.numbers["high"]
    assert "by the true classes 100.00 %" in found.found


def test_labels_that_stay_right_under_any_truth_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unshuffled:
        def permutation(self, truth: Whole) -> Whole:
            return truth

    monkeypatch.setattr(np.random, "default_rng", lambda _: Unshuffled())
    found = audit_checks.shuffled_truth(group(), seed=1)
    assert (found.state, found.numbers["share"]) == ("failed", 1.0)
    assert found.next


def test_honest_runs_fail_by_chance_no_more_often_than_said() -> None:
    failed = sum(audit_checks.shuffled_truth(group(wrong=50), seed=seed).state == "failed" for seed in range(2000))
    assert failed <= 8, "2 are expected; 9 or more would be a chance of 1 in 4,000"


@pytest.mark.parametrize(
    ("frames", "share", "low", "high"),
    # From exact fractions: the fewest that 0.05 %, and 99.95 %, have no more than.
    [(10, 0.5, 0, 10), (100, 0.1, 2, 21), (2400, 0.1, 193, 290), (1, 0.1, 0, 1), (50, 0.0, 0, 0), (50, 1.0, 50, 50)],
)
def test_the_interval_of_chance_is_the_binomials(frames: int, share: float, low: int, high: int) -> None:
    found = audit_checks.chance(frames, share)
    assert (found.low * frames, found.high * frames) == pytest.approx((low, high))


def test_a_million_frames_are_no_overflow() -> None:
    low, high = audit_checks.chance(1_000_000, 0.1)
    # 3.29 standard errors of 0.0003 to either side.
    assert (low, high) == pytest.approx((0.099013, 0.100987), abs=2e-6)


# --- files, counts, truth -----------------------------------------------------------------------


def answered(image: int, label: int, /, **changed: object) -> Row:
    row = {"tier": "gateway", "fate": Fate.ANSWERED.value, "camera": "camera-0", "number": image, "image": image}
    row |= {"truth": int(CLASSES[image]), "label": label, "right_image": True, "engine": "onnx", "model": "net@1"}
    return row | changed


def table(*rows: Row) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)


SPLIT: Final = Split("test", IMAGES, CLASSES.astype(np.uint8), "")
MISSING: Final = {"tier": "gateway", "fate": Fate.UNANSWERED.value, "camera": "camera-0", "image": 3, "truth": 3}


def test_files_that_are_the_manifests_pass_and_a_changed_or_missing_one_is_named(tmp_path: Path) -> None:
    for name in runfolder.RESULT_FILES:
        (tmp_path / name).write_text(name)
    manifest = {"files": {name: runfolder.sha256(tmp_path / name) for name in runfolder.RESULT_FILES}}
    assert audit_checks.files(tmp_path, manifest).state == "passed"
    (tmp_path / "frames.parquet").write_text("frames.parquet ")
    changed = audit_checks.files(tmp_path, manifest)
    assert (changed.state, changed.found) == ("failed", "changed since the run: frames.parquet")
    (tmp_path / "summary.json").unlink()
    assert audit_checks.files(tmp_path, manifest).found == "changed since the run: frames.parquet, summary.json"


def test_a_folder_without_checksums_fails_nothing_and_says_so(tmp_path: Path) -> None:
    found = audit_checks.files(tmp_path, {})
    assert (found.state, found.found) == ("not checked", "no checksums")


def test_a_summary_that_counts_otherwise_than_its_table_fails() -> None:
    rows = table(answered(1, 1), answered(2, 7), answered(4, 4, right_image=False), MISSING)
    tier = FULL.tiers["gateway"].model_copy(update={"results": 3, "correct": 1})
    summary = FULL.model_copy(update={"tiers": {"gateway": tier}})
    assert audit_checks.counts("gateway", summary, rows).state == "passed"
    tier.correct = 2
    found = audit_checks.counts("gateway", summary, rows)
    assert (found.state, found.found, found.limit) == ("failed", "1 right of 3", "2 of 3, as the summary")


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([answered(1, 1), answered(2, 7), MISSING], 0),
        ([answered(1, 1, truth=2), answered(2, 7), MISSING], 1),
        ([answered(1, 1), MISSING | {"truth": 4}], 1),
        ([answered(1, 1), answered(2, 2, image=100), answered(3, 3, image=-1)], 2),
        ([answered(1, 1, truth=None)], 0),
    ],
)
def test_truth_that_is_not_the_data_sets_is_counted(rows: list[Row], wrong: int) -> None:
    found = audit_checks.truth(table(*rows), SPLIT)
    assert (found.numbers["rows"], found.state) == (wrong, "failed" if wrong else "passed")


def test_answers_are_taken_by_tier_engine_and_model_and_only_where_they_can_be_judged() -> None:
    rows = table(
        answered(1, 1),
        answered(2, 2, model="net@2"),
        answered(3, 3, tier="cluster"),
        answered(4, 4, right_image=False),
        answered(5, 5, truth=None),
        MISSING,
    )
    found = [(one.tier, one.engine, one.model, one.image.tolist()) for one in audit.answered(rows)]
    assert found == [
        ("gateway", "onnx", "net@1", [1]),
        ("gateway", "onnx", "net@2", [2]),
        ("cluster", "onnx", "net@1", [3]),
    ]


# --- refusals -----------------------------------------------------------------------------------


def test_a_folder_of_several_runs_is_refused_with_the_name_of_one(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text("{}")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "summary.json").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        audit.run(tmp_path, Asked())
    assert str(caught.value) == f"{tmp_path} holds 1 runs; audit one of them, for example {tmp_path / 'one'}"


def test_a_folder_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no run folder: it has no summary\.json"):
        audit.run(tmp_path, Asked())


@pytest.mark.parametrize("write", [lambda _: None, lambda path: path.write_text("no table")], ids=["none", "no table"])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "frames.parquet")
    with pytest.raises(
        ConfigError, match=r"frames\.parquet cannot be read as a run's frames: .*; was the run cut off\?"
    ):
        audit.read(tmp_path / "frames.parquet")


def test_a_changed_file_ends_the_audit_and_fails_it(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(FULL.model_dump_json())
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"summary.json": "0" * 64}}))
    found = audit.run(tmp_path, Asked())
    assert found.verdict == "FAILED"
    assert [(one.check, one.state) for one in found.findings] == [("files", "failed")]


# --- shown --------------------------------------------------------------------------------------


def test_people_see_the_verdict_first_and_the_next_step_of_what_did_not_pass() -> None:
    good = Finding(check="truth", state="passed", found="0 rows", limit="0")
    bad = Finding(check="files", state="failed", found="changed", limit="same", next="run again", frames=("camera-0",))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(audit_shown.rendered(Audit(run="one", seed=1, verdict="FAILED", findings=(good, bad))))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines[0] == " FAILED   audit of one"
    assert lines[-2:] == ["files, failed: run again", "  camera-0"]
    assert not any("passed:" in line for line in lines)
