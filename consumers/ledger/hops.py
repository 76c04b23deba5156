"""What travelled each hop of the way: what a placement costs a network, and where."""

from collections.abc import Iterator, Sequence

import numpy as np

from consumers.ledger.collect import NEVER
from consumers.ledger.columns import Rows, each_once
from edgewise.messages import Tier
from edgewise.statistics import Mask
from edgewise.summary import Hop

MQTT = "MQTT broker"
KAFKA = "Kafka"


def find(tiers: Sequence[Rows], *, split: bool) -> list[Hop]:
    """Count each hop's messages and bytes.

    Args:
        tiers: their rows.
        split: whether each frame is in one tier's rows alone.
    """
    return [*_shared(each_once(tiers, split=split)), *(hop for found in tiers for hop in _own(found))]


def _shared(frames: Sequence[Rows]) -> Iterator[Hop]:
    """Give the hops that every frame takes, whoever classifies it."""
    known = [(found, found.sent_ns != NEVER) for found in frames]
    stored = [(found, found.moments("appended_ns") != NEVER) for found in frames]
    for start, end, some in (("cameras", MQTT, known), (MQTT, "bridge", stored), ("bridge", KAFKA, stored)):
        yield _hop(start, end, some, "size_bytes")


def _own(found: Rows) -> Iterator[Hop]:
    """Give one tier's hops: the gateway takes its frames from MQTT, the cluster from Kafka."""
    tier, answered = found.tier.value, [(found, found.answered)]
    yield _hop(MQTT if found.tier is Tier.GATEWAY else KAFKA, tier, answered, "size_bytes")
    yield _hop(tier, KAFKA, answered, "result_bytes")


def _hop(start: str, end: str, some: Sequence[tuple[Rows, Mask]], column: str) -> Hop:
    sizes = [np.asarray(found.table[column].fill_null(0), dtype=np.int64)[mine] for found, mine in some]
    return Hop(
        start=start,
        end=end,
        messages=sum(len(one) for one in sizes),
        size_bytes=sum(int(one.sum()) for one in sizes),
    )
