"""The topic ``runs``, read whole: what was planned and closed so far."""

from collections.abc import Sequence
from typing import Final

from edgewise import account, kafka, topics
from edgewise.account import CameraAccount, Closing, Plan
from edgewise.clock import Clock, Deadline
from edgewise.errors import UnreachableError
from edgewise.kafka import Client

POLL_S: Final = 0.1


def of_run(
    address: str, run: str, *, client: Client, clock: Clock, within_s: float = 20.0
) -> Sequence[Plan | CameraAccount | Closing]:
    """Give the entries of one run that are there now, the newest of each key.

    Raises:
        UnreachableError: Kafka did not give all of them in time.
    """
    consumer = kafka.consumer(address, topics=[topics.RUNS], client=client)
    deadline = Deadline(clock, within_s=within_s)
    found: dict[str, Plan | CameraAccount | Closing] = {}
    try:
        while consumer.lag():
            if deadline.passed():
                raise UnreachableError("Kafka", at=address, hint=f"the topic runs was not read within {within_s:.0f} s")
            for record in consumer.take(limit=1000, wait_s=POLL_S):
                entry = account.decode(record.value)
                if entry is not None and entry.run == run:
                    found[record.key] = entry
    finally:
        consumer.close()
    return list(found.values())
