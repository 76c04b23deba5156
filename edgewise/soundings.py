"""What the clock of a part shows beside Kafka's: four moments an exchange, as NTP has it (RFC 5905, section 8).

A part writes a record to ``runs`` and notes when it sent it, and when it heard that it was stored. Kafka's stamp of
the record is both moments there, when it came and when it was answered. So Kafka's clock is
ahead of the part's by something between stamp minus stored and stamp minus sent.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgewise import account
from edgewise.account import Part, Sounding
from edgewise.clock import Clock, Deadline
from edgewise.kafka import Producer
from edgewise.topics import RUNS

TIMES: Final = 5
"""Exchanges: the shortest tells most."""
WITHIN_S: Final = 1.0
"""For all of them: a Kafka that is slower than that tells little of a clock."""
BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def machine() -> str:
    """Name the start of the kernel that this process runs on: who has the same has the same clock."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""


def sound(producer: Producer, *, part: Part, name: str, run: str, clock: Clock) -> bool:
    """Compare this part's clock with Kafka's, for the run's ledger to read; without a run nobody would.

    Gives whether Kafka answered to the last.

    Raises:
        UnreachableError: Kafka has gone.
    """
    deadline = Deadline(clock, within_s=WITHIN_S)
    here, stored_ns = machine(), None
    for number in range(TIMES + 1 if run else 0):  # the last one only tells when the one before it was stored
        told = Sounding(
            run=run, part=part, name=name, number=number, machine=here, sent_ns=clock.now_ns(), before_ns=stored_ns
        )
        receipt = -told.sent_ns  # nobody else's, nor one's own of another time: a wrong one would come too early
        producer.send(RUNS, key=account.key(told), value=account.encode(told), receipt=receipt)
        stored_ns = _stored_ns(producer, receipt, deadline=deadline, clock=clock)
        if stored_ns is None:
            break
    return stored_ns is not None


def unsounded(receipts: Sequence[int]) -> Sequence[int]:
    """Leave out receipts of exchanges that took too long to be waited for: they come later, among those of records."""
    return [receipt for receipt in receipts if receipt >= 0]


def _stored_ns(producer: Producer, receipt: int, *, deadline: Deadline, clock: Clock) -> int | None:
    """Wait until a record is stored; give that moment, or None if it takes too long."""
    while not deadline.passed():
        stored = producer.stored(wait_s=deadline.left_s())
        if receipt in stored:
            return clock.now_ns()
        if not stored:
            return None
    return None
