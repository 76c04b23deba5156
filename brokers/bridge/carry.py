"""MQTT -> Kafka, in the order that loses nothing.

If the bridge dies between the two steps, MQTT sends the frames again. A frame may
arrive twice, never not at all; the ledger counts by (run, camera, number, tier).
"""

from collections.abc import Sequence
from typing import Protocol

from edgewise.arrival import Arrival


class Inbox(Protocol):
    """An MQTT session that acknowledges only when told to, in the order of receipt."""

    def take(self, *, limit: int, wait_s: float) -> Sequence[Arrival]:
        """Give what has arrived; wait at most so long for the first."""

    def finish(self, receipts: Sequence[int]) -> None:
        """Let MQTT forget these."""


class Outbox(Protocol):
    """Kafka. ``store`` starts; ``stored`` tells the receipts that all replicas have."""

    def store(self, frames: Sequence[Arrival]) -> None:
        """Start to store the frames."""

    def stored(self, *, wait_s: float) -> Sequence[int]:
        """Give the receipts of what is safe since the last call; wait at most so long for the first."""


def carry(inbox: Inbox, outbox: Outbox, *, limit: int, wait_s: float) -> int:
    """Move what there is, without waiting batch by batch; give how many frames were finished.

    With a limit of 0 nothing is taken: Kafka owes as many answers as may be under way.
    """
    if limit:
        outbox.store(inbox.take(limit=limit, wait_s=wait_s))
    receipts = outbox.stored(wait_s=0 if limit else wait_s)  # 1. Kafka has them ...
    inbox.finish(receipts)  # 2. ... so MQTT may forget them.
    return len(receipts)
