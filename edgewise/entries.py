"""The topic ``runs``, read whole: what was planned, opened and closed so far."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from typing import Final

from edgewise import account, kafka, topics
from edgewise.account import Closing, Entry, Opening
from edgewise.clock import Clock, Deadline
from edgewise.errors import MissingError, UnreachableError
from edgewise.kafka import Client, Consumer

POLL_S: Final = 0.1


def of_run(address: str, run: str, *, client: Client, clock: Clock, within_s: float = 20.0) -> Sequence[Entry]:
    """Give the entries of one run that are there now, the newest of each key, in the order of their writing.

    Raises:
        UnreachableError: Kafka did not give all of them in time.
    """
    consumer = kafka.consumer(address, topics=[topics.RUNS], client=client)
    deadline = Deadline(clock, within_s=within_s)
    found: dict[str, Entry] = {}
    with closing(consumer):
        while consumer.lag():
            if deadline.passed():
                raise UnreachableError("Kafka", at=address, hint=f"the topic runs was not read within {within_s:.0f} s")
            _take(consumer, run, found)
    return list(found.values())


def await_openings(
    address: str,
    run: str,
    *,
    parts: Collection[str],
    client: Client,
    clock: Clock,
    within_s: float,
    talk: Callable[[str], None],
) -> None:
    """Return when each of these parts has opened the run, and has not closed it again since.

    Raises:
        MissingError: one has not, in time.
        UnreachableError: Kafka does not answer.
    """
    if not parts:
        return
    consumer = kafka.consumer(address, topics=[topics.RUNS], client=client)
    with closing(consumer):
        await_open(consumer, run, parts=parts, clock=clock, within_s=within_s, talk=talk)


def await_open(
    consumer: Consumer,
    run: str,
    *,
    parts: Collection[str],
    clock: Clock,
    within_s: float,
    talk: Callable[[str], None],
) -> None:
    """See await_openings; ``consumer`` reads the topic ``runs`` from its beginning."""
    deadline = Deadline(clock, within_s=within_s)
    found: dict[str, Entry] = {}
    said = False
    while missing := sorted(set(parts) - open_parts(found.values())):
        # Whoever opened before this began is in the topic: what is there is read before anyone is missed.
        caught_up = not consumer.lag()
        if caught_up and deadline.passed():
            raise MissingError(
                f"no {missing[0]} has opened run {run} within {within_s:.0f} s; "
                f"start one with: edgewise {missing[0]} --run {run}"
            )
        if caught_up and not said:
            talk(f"waiting up to {within_s:.0f} s for the {' and the '.join(missing)} to open run {run} ...")
            said = True
        _take(consumer, run, found)


def open_parts(entries: Iterable[Entry]) -> set[str]:
    """Say which parts have opened their run and not closed it since; entries come in the order of their writing."""
    there: dict[tuple[str, str], bool] = {}
    for entry in entries:
        if isinstance(entry, Opening | Closing):
            there[entry.part, entry.name] = isinstance(entry, Opening)
    return {part for (part, _), is_open in there.items() if is_open}


def _take(consumer: Consumer, run: str, found: dict[str, Entry]) -> None:
    """Add what there is of a run; a newer entry of a key takes the place of the older and stands last."""
    for record in consumer.take(limit=1000, wait_s=POLL_S):
        entry = account.decode(record.value)
        if entry is not None and entry.run == run:
            found.pop(record.key, None)
            found[record.key] = entry
