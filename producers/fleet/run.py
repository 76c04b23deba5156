"""A fleet as a process: plan to ``runs``, frames to MQTT on schedule, account to ``runs``."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edgewise import account, kafka, topics
from edgewise.account import Closing, Entry, Plan
from edgewise.clock import MILLISECOND_NS, Clock, SystemClock
from edgewise.entries import await_openings, of_run
from edgewise.errors import ConfigError, InvalidRunError
from edgewise.mqtt.presence import await_parts
from edgewise.parts import Stop, close_account, say
from producers.camera.camera import LATE_NS, Tally
from producers.fleet import open_files
from producers.fleet.drive import Tell
from producers.fleet.settings import FleetSettings
from producers.fleet.share import Account, Share
from producers.fleet.workers import Workers

COLUMNS: Final = (
    *(TextColumn("{task.description:<17}"), BarColumn(bar_width=20), MofNCompleteColumn()),
    *(TextColumn("{task.fields[said]}"), TimeElapsedColumn()),
)
ON_KAFKA: Final = {"cluster"}
"""Those of the parts waited for that say on ``runs`` that they are ready; the others say it over MQTT."""


class Cameras(Protocol):
    """All cameras of a fleet, connected: in this process or in several."""

    def drive(self, plan: Plan, *, done: Callable[[], bool], tell: Tell) -> None:
        """Have every frame sent on schedule; ``tell`` hears how it goes."""

    def close(self) -> Sequence[Account]:
        """Let the cameras leave; say what they did, by process: of one that died there is nothing."""


class Fleet:
    """Cameras by one plan."""

    def __init__(self, settings: FleetSettings, *, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        open_files.allow(settings)
        topics.ensure(settings.kafka, partitions=settings.partitions)
        self._check_run()
        self._await_readers()
        if settings.cameras > settings.ramp_hz:
            say(f"fleet: connecting {settings.cameras:,} cameras, {settings.ramp_hz:,.0f} a second ...")
        self._cameras: Cameras = Workers(settings) if settings.processes > 1 else Share(settings, clock=clock)
        self._producer = kafka.producer(settings.kafka, client=settings.kafka_client)
        self.plan = settings.plan(clock=clock)

    def _await_readers(self) -> None:
        settings, wanted = self._settings, set(self._settings.wait_for)
        await_parts(settings.mqtt, parts=wanted - ON_KAFKA, clock=self._clock, within_s=settings.wait_s)
        await_openings(
            settings.kafka,
            settings.run,
            parts=wanted & ON_KAFKA,
            client=settings.kafka_client,
            clock=self._clock,
            within_s=settings.wait_s,
            talk=lambda text: say(f"fleet: {text}"),
        )

    def _check_run(self) -> None:
        """Refuse a run that this fleet was part of before: its old results would be taken for the new ones.

        Raises:
            ConfigError: that, or there is nothing to attach to.
        """
        settings = self._settings
        entries = of_run(settings.kafka, settings.run, client=settings.kafka_client, clock=self._clock)
        before = {entry.fleet for entry in entries if isinstance(entry, Plan)}
        over = {entry.name for entry in entries if isinstance(entry, Closing) and entry.part == "fleet"}
        option = "--attach" if settings.attach else "--run"
        if settings.fleet in before:
            other = "--name" if settings.attach else "--run"
            raise ConfigError(
                f"{option} {settings.run!r} has had a fleet {settings.fleet!r} before; choose another {other}"
            )
        if settings.attach and not before:
            raise ConfigError(f"{option} {settings.run!r}: no fleet of such a run is there; start one with --run")
        if settings.attach and before <= over:
            raise ConfigError(f"{option} {settings.run!r}: its fleets have ended; start a new run with --run")

    def _store(self, entry: Entry) -> None:
        self._producer.send(topics.RUNS, key=account.key(entry), value=account.encode(entry), receipt=-1)

    def run(self, *, done: Callable[[], bool], tell: Tell) -> None:
        """Send every frame on schedule, then wait for the last answers; ``tell`` hears how it goes."""
        self._store(self.plan)
        self._cameras.drive(self.plan, done=done, tell=tell)

    def close(self) -> dict[str, Any]:
        """Write the accounts; give the fleet's.

        Raises:
            InvalidRunError: one of the fleet's processes died.
        """
        accounts = self._cameras.close()
        for entry in (entry for share in accounts for entry in share.cameras):
            self._store(entry)
        counts = sum((share.counts for share in accounts), start=Counter[str]())
        late_ms = np.concatenate([share.late_ns for share in accounts] or [np.empty(0, np.int64)]) / MILLISECOND_NS
        summary = {**counts, "lateness_ms": lateness(late_ms), "codec": self._settings.codec.value}
        cost = {
            "cpu_s": round(sum(share.cpu_s for share in accounts), 3),
            "memory_bytes": sum(share.memory_bytes for share in accounts),
        }
        whole = close_account(
            self._producer, part="fleet", name=self._settings.fleet, run=self._settings.run, summary=summary | cost
        )
        if died := self._settings.processes - len(accounts):
            raise InvalidRunError(
                f"{died} of the fleet's {self._settings.processes} processes died; their cameras have no account"
            )
        return whole


def lateness(late_ms: NDArray[np.float64]) -> dict[str, float | None]:
    """Sum up how late frames left: exact percentiles, None where nothing was sent."""
    if not late_ms.size:
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(late_ms, [50, 99], method="higher")
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(late_ms.max()), 3)}


def run(settings: FleetSettings) -> tuple[dict[str, Any], int]:
    """Run a fleet to the end of its schedule, or until Ctrl-C; give its account and exit code."""
    stop = Stop()
    name = settings.run
    say(f"fleet: run {name}; account for it with: edgewise ledger --run {name} --out runs/{name}")
    fleet = Fleet(settings, clock=SystemClock())
    stop.holding = True
    with Progress(*COLUMNS, console=Console(file=sys.stderr)) as progress:
        show = _bars(progress, settings, frames=fleet.plan.frames_together())
        fleet.run(done=lambda: stop.asked, tell=show)
    summary = fleet.close()
    if (p99 := summary["lateness_ms"]["p99"]) is not None and p99 > LATE_NS / MILLISECOND_NS:
        say(
            f"fleet: 1 % of the frames left {p99:,.1f} ms late or more: the cameras, or what they wait for, were the "
            "bottleneck; see what they can with --ceiling, and divide them with --processes"
        )
    return summary, stop.exit_code


def _bars(progress: Progress, settings: FleetSettings, *, frames: int) -> Tell:
    """Give what shows how the cameras are getting on."""
    connected = progress.add_task("cameras connected", total=settings.cameras, said="")
    sent = progress.add_task("frames sent", total=frames, said="")
    confirmed = progress.add_task("frames confirmed", total=frames, said="")

    def show(tally: Tally) -> None:
        progress.update(connected, completed=tally.connected)
        progress.update(sent, completed=tally.sent, said=f"{tally.late:,} late, {tally.dropped:,} dropped")
        progress.update(confirmed, completed=tally.confirmed)

    return show
