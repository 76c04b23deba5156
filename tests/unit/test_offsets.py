"""Clocks of parts beside the ledger's: exchanges with Kafka bound the offset, whichever way is the slow one."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from brokers.bridge.outbox import KafkaOutbox
from compare.reports import clocks_shown
from consumers.gateway.write import ResultWriter
from consumers.ledger import offsets
from consumers.ledger.collect import Collected
from consumers.ledger.run import LedgerSettings, sound_again
from edgewise import account, soundings, topics
from edgewise.account import Part, Sounding
from edgewise.arrival import Answerer
from edgewise.clock import MILLISECOND_NS, SECOND_NS, ManualClock
from edgewise.errors import RefusedError, UnreachableError
from edgewise.kafka import Record
from edgewise.messages import Tier
from tests.fakes import MemoryConsumer, MemoryProducer
from tests.tables import RUN, START_NS, Told, causes, first

KAFKA_AHEAD_NS: Final = 7 * SECOND_NS
"""Nobody's clock is Kafka's."""


def exchanges(  # noqa: PLR0913 - each is one circumstance
    collected: Collected,
    part: Part,
    *,
    off_ns: int,
    at_s: float = 0.0,
    machine: str = "far",
    seed: int = 1,
    slow: float = 1.0,
    kafka_ahead_ns: int = KAFKA_AHEAD_NS,
    name: str = "",
) -> None:
    """Let a part whose clock is ahead by so much exchange moments with Kafka, over a line that is slow by chance."""
    random = np.random.default_rng(seed)
    true_ns, before_ns = START_NS + round(at_s * SECOND_NS), None
    for number in range(soundings.TIMES + 1):
        there_ns, back_ns = (round(ms * MILLISECOND_NS) for ms in slow * random.gamma(1.5, 2.0, size=2))
        told = Sounding(
            run=RUN,
            part=part,
            name=name or part,
            number=number,
            machine=machine,
            sent_ns=true_ns + off_ns,
            before_ns=before_ns,
        )
        stamp_ns = (true_ns + there_ns + kafka_ahead_ns) // MILLISECOND_NS * MILLISECOND_NS
        record = Record(topics.RUNS, 0, 0, account.key(told), account.encode(told), (), stamp_ns)
        collected.add([record], now_ns=true_ns)
        true_ns += there_ns + back_ns
        before_ns = true_ns + off_ns


@pytest.mark.parametrize("off_ms", [-2000.0, -0.4, 0.0, 30.0])
@pytest.mark.parametrize("seed", range(8))
def test_the_true_offset_lies_within_the_bound(off_ms: float, seed: int) -> None:
    collected = Collected(RUN)
    exchanges(collected, "ledger", off_ns=0, machine="here", seed=seed)
    exchanges(collected, "fleet", off_ns=round(off_ms * MILLISECOND_NS), seed=100 + seed)
    found = offsets.find(collected)["fleet"]
    assert not found.same_machine
    assert found.offset_ms is not None
    assert found.bound_ms is not None
    assert abs(found.offset_ms - off_ms) <= found.bound_ms < 10


def test_a_clock_that_ran_away_meanwhile_is_as_wrong_as_at_its_worst() -> None:
    collected = Collected(RUN)
    for at_s, off_ns in ((0, 0), (40, 50 * MILLISECOND_NS)):
        exchanges(collected, "ledger", off_ns=0, at_s=at_s, machine="here")
        exchanges(collected, "bridge", off_ns=off_ns, at_s=at_s, seed=2)
    found = offsets.find(collected)["bridge"]
    assert found.offset_ms == pytest.approx(50, abs=10)


def test_a_part_that_died_is_compared_as_it_began() -> None:
    collected = Collected(RUN)
    exchanges(collected, "ledger", off_ns=0, machine="here")
    exchanges(collected, "gateway", off_ns=0, seed=2)
    # Kafka's clock is set meanwhile, which the gateway did not live to see.
    exchanges(collected, "ledger", off_ns=0, at_s=40, machine="here", kafka_ahead_ns=8 * SECOND_NS)
    found = offsets.find(collected)["gateway"]
    assert found.offset_ms == pytest.approx(0, abs=10)


def test_what_is_sure_of_a_clock_is_not_hidden_by_a_slow_exchange() -> None:
    told = Told(tiers=(Tier.GATEWAY,))
    for at_s, slow in ((0, 100.0), (40, 1.0)):
        exchanges(told.collected, "ledger", off_ns=0, at_s=at_s, machine="here")
        exchanges(told.collected, "bridge", off_ns=60 * MILLISECOND_NS, at_s=at_s, seed=11, slow=slow)
    found = told.summary()
    bound = found.clocks["bridge"]
    assert bound.offset_ms == pytest.approx(60, abs=10)
    assert causes(found) == {"clock off in bridge": []}


def test_parts_on_the_ledger_s_machine_have_its_clock() -> None:
    told = Told()
    exchanges(told.collected, "ledger", off_ns=0, machine="here")
    exchanges(told.collected, "fleet", off_ns=0, machine="here", seed=2)
    exchanges(told.collected, "gateway", off_ns=0, machine="there", seed=3)
    found = told.summary()
    assert (found.verdict, found.clocks["fleet"].offset_ms, found.clocks["fleet"].bound_ms) == ("VALID", 0.0, 0.0)
    said = " ".join(clocks_shown.said(found))
    assert said.startswith("Clocks beside the ledger's: fleet: same machine, same clock; gateway: ")
    assert "ms, give or take " in said
    assert "Below clock resolution (the clocks' error is more than a tenth of it): " in said


def test_of_several_of_a_kind_the_worst_clock_decides_what_can_be_resolved() -> None:
    told = Told()
    exchanges(told.collected, "ledger", off_ns=0, machine="here")
    for name, seed in (("one", 2), ("two", 3)):
        exchanges(told.collected, "fleet", off_ns=0, machine="there", seed=seed, name=name)
    found = told.summary()
    assert set(found.clocks) == {"fleet one", "fleet two"}
    assert ("gateway", "transport") in set(clocks_shown.unresolved(found))


def test_without_exchanges_nothing_is_said() -> None:
    assert list(clocks_shown.said(Told().summary())) == []
    alone = Collected(RUN)
    exchanges(alone, "fleet", off_ns=0)
    assert offsets.find(alone) == {}, "nothing to compare it with"


@pytest.mark.parametrize("off_s", [2.0, -2.0])
def test_a_fleet_s_clock_that_is_off_is_found_though_no_step_is_impossible(off_s: float) -> None:
    told = Told(tiers=(Tier.GATEWAY,))
    exchanges(told.collected, "ledger", off_ns=0, machine="here")
    exchanges(told.collected, "fleet", off_ns=round(off_s * SECOND_NS), seed=2)
    found = told.summary()
    assert causes(found) == {"clock off in fleet": []}
    reason = first(found)
    assert float(reason.found) == pytest.approx(1000 * off_s, abs=10)
    assert (reason.limit, reason.unit) == (10, "ms")
    assert ("ahead of" if off_s > 0 else "behind") in reason.next


class Slow(MemoryProducer):
    """A producer that stores what it is given a while after it was asked for the first time."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock, self._waiting = clock, 0

    def stored(self, *, wait_s: float = 0.0) -> list[int]:
        """Give what was there before at once, and what was sent last after its time."""
        held = list(super().stored(wait_s=wait_s))
        if len(held) > 1:  # others' receipts, which nobody had asked for
            self._stored = held[-1:]
            return held[:-1]
        self._clock.advance(by_ns=MILLISECOND_NS)
        return held


def test_what_others_have_stored_is_not_taken_for_an_exchange() -> None:
    clock = ManualClock(start_ns=START_NS)
    producer = Slow(clock)
    for receipt in (-1, -1, -2, -3):
        producer.send(topics.RUNS, key="", value=b"", receipt=receipt)
    soundings.sound(producer, part="fleet", name="f", run=RUN, clock=clock)
    told = [one for record in producer.sent if isinstance(one := account.decode(record.value), Sounding)]
    took_ns = {after.before_ns - one.sent_ns for one, after in pairwise(told) if after.before_ns is not None}
    assert took_ns == {MILLISECOND_NS}


class Away(MemoryProducer):
    """A producer whose Kafka has gone."""

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:  # noqa: ARG002 - it would wait for ever
        """Give nothing."""
        return ()


class AwayConsumer(MemoryConsumer):
    """A consumer whose Kafka has gone."""

    def lag(self) -> int:
        """Say that it does not answer."""
        raise UnreachableError("Kafka", at="here", hint="start it")


def test_a_ledger_whose_kafka_has_gone_at_the_end_gives_its_account_all_the_same() -> None:
    clock, settings = ManualClock(start_ns=START_NS), LedgerSettings(kafka="here", run=RUN, out=Path())
    collected = Collected(RUN, caught_up_ns=START_NS)
    for producer in (Away(), MemoryProducer()):  # it goes before the last exchange, or right after
        sound_again(collected, AwayConsumer([]), producer, settings, clock=clock)
    assert collected.soundings == []


@pytest.mark.parametrize("error", [UnreachableError("Kafka", at="here", hint="start it"), RefusedError("not yours")])
def test_a_ledger_that_may_not_write_or_cannot_says_so_and_goes_on(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(MemoryProducer):
        def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:  # noqa: ARG002 - as above
            raise error

    settings = LedgerSettings(kafka="here", run=RUN, out=Path())
    sound_again(Collected(RUN), MemoryConsumer([]), Failing(), settings, clock=ManualClock(start_ns=START_NS))
    assert f"ledger: {error}; " in capsys.readouterr().err


def test_a_part_writes_its_exchanges_and_without_a_run_none() -> None:
    clock = ManualClock(start_ns=START_NS)
    for run, records in ((RUN, soundings.TIMES + 1), ("", 0)):
        producer = MemoryProducer()
        soundings.sound(producer, part="bridge", name="b", run=run, clock=clock)
        told = [account.decode(record.value) for record in producer.sent]
        assert [one.number for one in told if isinstance(one, Sounding)] == list(range(records))
        assert [one.before_ns for one in told if isinstance(one, Sounding)] == [None, *[START_NS] * (records - 1)][
            :records
        ]


class Late(MemoryProducer):
    """A producer that stores nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = False

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:
        """See Producer."""
        return super().stored(wait_s=wait_s) if self.let else ()


def test_an_exchange_that_took_too_long_is_no_frame_that_was_stored() -> None:
    producer, clock = Late(), ManualClock(start_ns=START_NS)
    assert not soundings.sound(producer, part="bridge", name="b", run=RUN, clock=clock)
    producer.let = True
    outbox = KafkaOutbox(producer, clock=clock)
    assert (list(outbox.stored(wait_s=0)), outbox.under_way) == ([], 0)
    late = Late()
    assert not soundings.sound(late, part="gateway", name="g", run=RUN, clock=clock)
    late.let = True
    by = Answerer(tier=Tier.GATEWAY, engine="keras", model="m", tasks=1, worker="w")
    writer = ResultWriter(late, by=by, clock=clock)
    assert (list(writer.stored(wait_s=0)), writer.under_way) == ([], 0)
