"""What every long-running part does alike: stop when asked, say how it goes, account for itself."""

import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgewise import account
from edgewise.alive import Alive
from edgewise.clock import SECOND_NS, Clock
from edgewise.kafka import Producer
from edgewise.log import LOGGER
from edgewise.topics import RUNS

CLOSE_S: Final = 10.0
"""How long a part may take to finish what it holds."""
KIB: Final = 1024


def say(text: str, **fields: object) -> None:
    """Talk, on stderr: stdout is for data. Fields are for programs that read it as JSON."""
    LOGGER.info("%s", text, extra={"fields": fields})


def warn(text: str, *, kind: str = "", **fields: object) -> None:
    """Say that something was lost, late or is done again; the part goes on.

    The same is not said for ever: what is of one ``kind``, or differs in numbers alone, is counted after a while.
    """
    LOGGER.warning("%s", text, extra={"fields": fields, "kind": kind})


class Stop:
    """Whether somebody asked to stop: Ctrl-C or SIGTERM, from now on.

    A part that is still setting up holds nothing and ends at once; from ``holding`` on
    it is only asked, and finishes what it holds.
    """

    def __init__(self) -> None:
        self.asked = self.holding = False
        self.exit_code = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, _: object) -> None:
        self.asked = True
        self.exit_code = 130 if number == signal.SIGINT else 0
        if not self.holding:
            sys.exit(self.exit_code)


class Progress:
    """A line of counts on stderr every few seconds, with the rate since the last."""

    def __init__(self, part: str, *, clock: Clock, every_s: float = 5.0, talk: Callable[[str], None] = say) -> None:
        self._part, self._clock, self._talk = part, clock, talk
        self._every_ns = round(every_s * SECOND_NS)
        self._last_ns, self._last_frames = clock.ticks_ns(), 0
        self._alive = Alive(clock=clock)

    def tell(self, frames: int, **counts: int) -> None:
        """Say it if it is time to and something has happened; give the sign of life in any case."""
        self._alive.beat()
        now_ns = self._clock.ticks_ns()
        if now_ns - self._last_ns < self._every_ns:
            return
        if frames != self._last_frames:
            rate_hz = (frames - self._last_frames) / (now_ns - self._last_ns) * SECOND_NS
            others = "".join(f", {count:,} {name.replace('_', ' ')}" for name, count in counts.items())
            self._talk(f"{self._part}: {frames:,} frames, {rate_hz:,.0f}/s{others}")
        self._last_ns, self._last_frames = now_ns, frames


def spent() -> dict[str, float | int]:
    """Say what this process has used so far: CPU seconds and the largest resident size."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_s": round(usage.ru_utime + usage.ru_stime, 3), "memory_bytes": usage.ru_maxrss * KIB}


class Costs:
    """What a part spends on its work: what its start took, loading models and compiling, stands apart."""

    def __init__(self, spent: Callable[[], Mapping[str, float]] = spent) -> None:
        """Begin to count; ``spent`` says what all of its processes have used so far."""
        self._spent = spent
        self._start_s = spent()["cpu_s"]

    def so_far(self) -> dict[str, float]:
        """Give CPU seconds since the start and of it, and the largest resident size."""
        found = self._spent()
        return {**found, "cpu_s": round(found["cpu_s"] - self._start_s, 3), "cpu_start_s": round(self._start_s, 3)}


def open_account(
    producer: Producer, *, part: account.Part, name: str, run: str, facts: Mapping[str, Any], clock: Clock
) -> None:
    """Write to ``runs`` that a part is ready, from now on; ``producer`` is closed with it.

    Raises:
        UnreachableError: Kafka has not taken it.
    """
    opening = account.Opening(run=run, part=part, name=name, ready_ns=clock.now_ns(), facts=dict(facts))
    producer.send(RUNS, key=account.key(opening), value=account.encode(opening), receipt=-1)
    producer.close(within_s=CLOSE_S)


def close_account(
    producer: Producer,
    *,
    part: account.Part,
    name: str,
    run: str,
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a part's closing account to ``runs``; give it. A part of several processes says itself what they spent."""
    cost = {} if "cpu_s" in summary else spent()
    whole = {**summary, **cost, "pid": str(os.getpid())}
    closing = account.Closing(run=run, part=part, name=name, summary=whole)
    producer.send(RUNS, key=account.key(closing), value=account.encode(closing), receipt=-1)
    producer.close(within_s=CLOSE_S)
    return whole
