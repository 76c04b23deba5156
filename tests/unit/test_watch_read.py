"""How a watcher reads: in steps, so much a second, once; and what becomes of it when reading fails."""

from collections.abc import Sequence
from contextlib import closing as until_closed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from consumers.watch import feed as feeds
from consumers.watch.feed import Asked, Early, Feed, Truth
from consumers.watch.read import FRAMES_MOST_BYTES, FRAMES_MOST_HZ, PIECE, Reader
from consumers.watch.runs import RUNS_MOST
from edgewise import topics
from edgewise.clock import MILLISECOND_NS, SECOND_NS, ManualClock, SystemClock
from edgewise.errors import UnreachableError
from edgewise.kafka import Client, Looker, Record
from edgewise.messages import Tier
from tests.fakes import MemoryLooker
from tests.real import eventually
from tests.watching import RUN, START_NS, closing, entry, frame, labels, plan, record, result

NOWHERE: Final = "nowhere:9092"


@dataclass
class Topics:
    """A Kafka in memory: a reader of each topic, the newest that was opened."""

    records: Sequence[Record] = ()
    """Of runs, from its beginning."""
    lookers: dict[str, MemoryLooker] = field(default_factory=dict)
    opened: int = 0
    failure: Exception | None = None

    def open(self, *names: str, from_end: bool = True) -> Looker:
        if self.failure is not None:
            raise self.failure
        self.opened += 1
        made = MemoryLooker([] if from_end else self.records)
        self.lookers |= dict.fromkeys(names, made)
        return made


def watching(of: Topics, clock: ManualClock | SystemClock, *, run: str = "") -> Feed:
    asked = Asked(NOWHERE, Client.AUTO, run, Path(), None)
    return Feed(asked, clock=clock, truth=Truth(labels), opens=of.open)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start_ns=START_NS)


def stamped(found: Record, at: int) -> Record:
    """Give a record its own stamp."""
    return Record(found.topic, 0, at, found.key, found.value, (), START_NS + at * MILLISECOND_NS)


# --- a second -------------------------------------------------------------------------------------


def test_a_second_that_was_long_is_one_second_and_rates_are_by_the_time_it_took(clock: ManualClock) -> None:
    kafka = Topics([entry(plan(frames=10_000))])
    source = watching(kafka, clock)
    with until_closed(Reader(kafka.open, source, clock=clock)) as reader:
        for second in range(6):
            for step in range(10):
                number = (second * 10 + step) * 10
                kafka.lookers[topics.FRAMES].come([frame("camera-0", number + one) for one in range(10)])
                reader.step()
        reader.step()
        assert [point.frames_hz for point in source.look().points][-1] == pytest.approx(100, rel=0.15)
        seconds = len(source.look().points)
        # Nothing could be read for ten seconds; then all of it comes at once.
        clock.advance(by_ns=10 * SECOND_NS)
        kafka.lookers[topics.FRAMES].come([frame("camera-0", number) for number in range(1000, 2000)])
        for _ in range(5):
            reader.step()
        points = source.look().points
        assert len(points) == seconds + 1
        assert points[-1].frames_hz == pytest.approx(100, rel=0.15)


def test_only_so_many_frames_a_second_are_read_and_the_rest_is_passed_over(clock: ManualClock) -> None:
    kafka = Topics([entry(plan(frames=10_000))])
    source = watching(kafka, clock)
    with until_closed(Reader(kafka.open, source, clock=clock)) as reader:
        kafka.lookers[topics.FRAMES].come([frame("camera-0", number) for number in range(FRAMES_MOST_HZ + 500)])
        for _ in range(11):
            reader.step()
        assert kafka.lookers[topics.FRAMES].taken == FRAMES_MOST_HZ
        assert source.look().stages[3].frames == FRAMES_MOST_HZ + 500
        assert source.look().remarks == ["500 frames in Kafka were counted and not read, so that watching stays cheap."]


def test_only_so_many_bytes_a_second_are_read_and_large_frames_are_not_kept(clock: ManualClock) -> None:
    kafka = Topics([entry(plan())])
    source = watching(kafka, clock)
    large, size_bytes = [frame("camera-0", number, payload=bytes(900_000)) for number in range(100)], 900_000
    with until_closed(Reader(kafka.open, source, clock=clock)) as reader:
        for step in range(11):  # 90 MB in a second
            kafka.lookers[topics.FRAMES].come(large[step * 9 : step * 9 + 9])
            reader.step()
    taken = kafka.lookers[topics.FRAMES].taken
    assert taken * size_bytes < FRAMES_MOST_BYTES + PIECE * size_bytes
    assert taken < 20
    assert source.look().stages[3].frames == 99
    assert any("counted and not read" in remark for remark in source.look().remarks)


def test_what_is_remembered_for_a_run_to_come_is_bounded_in_bytes() -> None:
    early = Early()
    for number in range(feeds.EARLY * 2):
        early.add([frame("camera-0", number, payload=bytes(900_000))] * 3)
        assert early.size_bytes <= feeds.EARLY_MOST_BYTES
    assert len(early.records()) == 3
    for number in range(feeds.EARLY * 2):
        early.add([frame("camera-0", number)])
    assert len(early.records()) == feeds.EARLY


# --- once more ------------------------------------------------------------------------------------


def test_runs_that_are_read_again_after_kafka_was_away_are_nothing_new(clock: ManualClock) -> None:
    older = [entry(plan(run=f"run-{number}", start_ns=START_NS + number)) for number in range(RUNS_MOST + 5)]
    newest = [entry(plan(start_ns=START_NS + SECOND_NS)), closing()]
    # The name was used before, and Kafka has not compacted that away.
    before = [entry(plan(start_ns=START_NS - SECOND_NS)), closing()]
    kafka = Topics([stamped(one, at) for at, one in enumerate([*before, *older, *newest])])
    source = watching(kafka, clock)
    with until_closed(Reader(kafka.open, source, clock=clock)) as reader:
        kafka.lookers[topics.FRAMES].come([frame("camera-0", 0)])
        reader.step()
    clock.advance(by_ns=30 * SECOND_NS)
    with until_closed(Reader(kafka.open, source, clock=clock)) as reader:
        reader.step()
        look = source.look()
        assert (look.run, look.state, look.stages[3].frames) == (RUN, "ended", 1)
        assert look.watched_s > 30
        # What came meanwhile is news.
        kafka.lookers[topics.RUNS].come([stamped(entry(plan(run="later", start_ns=START_NS + 9 * SECOND_NS)), 99)])
        reader.step()
        assert source.look().run == "later"


# --- what fails ------------------------------------------------------------------------------------


def until(source: Feed, *, said: str | None) -> None:
    """Wait until something is said to be wrong, or nothing any more."""
    eventually(
        lambda: [said in one for one in source.look().notices] if said else not source.look().notices, within_s=20
    )


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "AWAY_S", 0.05)


@pytest.mark.usefixtures("soon")
def test_a_reader_that_fails_says_so_until_it_reads_again_whatever_the_lags_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Sequence[str]] = []

    def answered(_: object, groups: Sequence[str]) -> dict[str, list[object]]:
        asked.append(groups)
        return {}

    monkeypatch.setattr(feeds, "LAG_EVERY_S", 0.01)
    monkeypatch.setattr("edgewise.lag.Probe.look", answered)
    soon_ns = SystemClock().now_ns() + 3600 * SECOND_NS
    away = UnreachableError("Kafka", at=NOWHERE, hint="it is away")
    kafka = Topics([entry(plan(start_ns=soon_ns))], failure=away)
    source = watching(kafka, SystemClock())
    source.start()
    try:
        until(source, said="it is away")
        # The other thread finds Kafka well, again and again: the reader's trouble is not over by that.
        for _ in range(50):
            asked.clear()
            eventually(lambda: bool(asked), within_s=20)
            assert source.look().notices == [f"Kafka does not answer at {NOWHERE}; it is away."]
        kafka.failure = None
        until(source, said=None)
        assert source.look().run == RUN
        # Later it goes once more.
        kafka.lookers[topics.FRAMES].failure = UnreachableError("Kafka", at=NOWHERE, hint="gone again")
        kafka.failure = kafka.lookers[topics.FRAMES].failure
        until(source, said="gone again")
    finally:
        source.stop()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"watch: Kafka does not answer at {NOWHERE}; {why}; trying again" for why in ("it is away", "gone again")
    ]


@pytest.mark.usefixtures("soon")
def test_a_bug_ends_the_watcher_and_is_raised_where_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LAG_EVERY_S", 600)
    kafka = Topics([entry(plan())], failure=ZeroDivisionError("a bug"))
    source = watching(kafka, SystemClock())
    source.start()
    assert source.stopped.wait(20)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        source.stop()


def test_frames_of_a_run_whose_plan_comes_a_little_later_are_counted(clock: ManualClock) -> None:
    kafka = Topics([])
    source = watching(kafka, clock)
    with until_closed(Reader(kafka.open, source, clock=clock)) as reader:
        kafka.lookers[topics.FRAMES].come([frame("camera-0", 0), record(topics.FRAMES, "camera-0", b"none")])
        kafka.lookers[topics.RESULTS].come([result("camera-0", 0, Tier.GATEWAY)])
        reader.step()
        kafka.lookers[topics.RUNS].come([entry(plan())])
        reader.step()
    look = source.look()
    assert (look.stages[3].frames, look.tiers[0].results) == (1, 1)
