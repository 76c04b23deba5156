"""A fleet as a process: plan to ``runs``, frames to MQTT on schedule, account to ``runs``."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edgewise import account, kafka, topics
from edgewise.account import Closing, Entry, Plan
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock, SystemClock
from edgewise.entries import await_openings, of_run
from edgewise.errors import ConfigError, InvalidRunError
from edgewise.mqtt.presence import await_parts
from edgewise.parts import Stop, close_account, say
from producers.camera.camera import LATE_NS
from producers.fleet import open_files
from producers.fleet.settings import FleetSettings, Group
from producers.fleet.share import Account, Share, Spent, Standing, Tell
from producers.fleet.workers import Workers

COLUMNS: Final = (
    *(TextColumn("{task.description:<17}"), BarColumn(bar_width=20), MofNCompleteColumn()),
    *(TextColumn("{task.fields[said]}"), TimeElapsedColumn()),
)
REFRESH_HZ: Final = 2
"""Of what is shown: to draw it takes milliseconds, which frames wait for."""
OVERDUE_S: Final = 60.0
"""After the last frame was due, from which on a fleet counts as ended, whatever it says."""
ON_KAFKA: Final = {"cluster"}
"""Those of the parts waited for that say on ``runs`` that they are ready; the others say it over MQTT."""


class Cameras(Protocol):
    """All cameras of a fleet, connected: in this process or in several."""

    def drive(self, plans: Sequence[Plan], *, done: Callable[[], bool], tell: Tell) -> None:
        """Have every frame sent on schedule; ``tell`` hears how it goes."""

    def close(self) -> Sequence[Spent]:
        """Let the cameras leave; say what they did, by process: of one that died there is nothing."""


class Fleet:
    """Groups of cameras, each by its plan."""

    def __init__(self, settings: FleetSettings, *, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        open_files.allow(settings)
        topics.ensure(settings.kafka, partitions=settings.partitions)
        self._check_run()
        self._await_readers()
        if settings.cameras > settings.ramp_hz:
            say(f"fleet: connecting {settings.cameras:,} cameras, {settings.ramp_hz:,g} a second ...")
        self._producer = kafka.producer(settings.kafka, client=settings.kafka_client)
        self._cameras: Cameras = Workers(settings) if settings.processes > 1 else Share(settings, clock=clock)
        if settings.attach:
            self._check_run()  # once more: meanwhile it may have ended
        self.plans = settings.plans(clock=clock)

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
        # One that was killed has no closing account.
        late_ns = self._clock.now_ns() - round(OVERDUE_S * SECOND_NS)
        over |= {entry.fleet for entry in entries if isinstance(entry, Plan) and entry.end_ns() < late_ns}
        option = "--attach" if settings.attach else "--run"
        for group in settings.groups:
            if group.name in before:
                other = "--name" if settings.attach else "--run"
                raise ConfigError(
                    f"{option} {settings.run!r} has had a fleet {group.name!r} before; choose another {other}"
                )
        if settings.attach and not before:
            raise ConfigError(f"{option} {settings.run!r}: no fleet of such a run is there; start one with --run")
        if settings.attach and before <= over:
            raise ConfigError(f"{option} {settings.run!r}: its fleets have ended; start a new run with --run")

    def _store(self, entry: Entry) -> None:
        self._producer.send(topics.RUNS, key=account.key(entry), value=account.encode(entry), receipt=-1)

    def run(self, *, done: Callable[[], bool], tell: Tell) -> None:
        """Send every frame on schedule, then wait for the last answers; ``tell`` hears how it goes."""
        for plan in self.plans:
            self._store(plan)
        self._cameras.drive(self.plans, done=done, tell=tell)

    def close(self) -> Mapping[str, dict[str, Any]]:
        """Write the accounts; give each group's. What the fleet cost stands in the first.

        Raises:
            InvalidRunError: one of the fleet's processes died.
        """
        spent, settings = self._cameras.close(), self._settings
        summaries = {
            group.name: self._summed(
                group, [one for share in spent for one in share.accounts if one.group == group.name]
            )
            for group in settings.groups
        }
        (first, whole), *others = summaries.items()
        for name, summary in others:
            self._store(Closing(run=settings.run, part="fleet", name=name, summary=summary))
        cost = {
            "cpu_s": round(sum(share.cpu_s for share in spent), 3),
            "memory_bytes": sum(share.memory_bytes for share in spent),
        }
        told = close_account(self._producer, part="fleet", name=first, run=settings.run, summary=whole | cost)
        if died := settings.processes - len(spent):
            raise InvalidRunError(
                f"{died} of the fleet's {settings.processes} processes died; their cameras have no account"
            )
        return summaries | {first: told}

    def _summed(self, group: Group, accounts: Sequence[Account]) -> dict[str, Any]:
        """Write the accounts of a group's cameras; give what they did together."""
        for entry in (entry for one in accounts for entry in one.cameras):
            self._store(entry)
        counts: Counter[str] = Counter()
        for one in accounts:
            counts.update(one.counts)  # a sum would leave out what is 0
        late_ms = np.concatenate([one.late_ns for one in accounts] or [np.empty(0, np.int64)]) / MILLISECOND_NS
        return {**counts, "lateness_ms": lateness(late_ms), "codec": group.codec.value}


def lateness(late_ms: NDArray[np.float64]) -> dict[str, float | None]:
    """Sum up how late frames left: exact percentiles, None where nothing was sent."""
    if not late_ms.size:
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(late_ms, [50, 99], method="higher")
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(late_ms.max()), 3)}


def run(settings: FleetSettings) -> tuple[Mapping[str, dict[str, Any]], int]:
    """Run a fleet to the end of its schedule, or until Ctrl-C; give its groups' accounts and its exit code."""
    stop = Stop()
    name = settings.run
    say(f"fleet: run {name}; account for it with: edgewise ledger --run {name} --out runs/{name}")
    fleet = Fleet(settings, clock=SystemClock())
    stop.holding = True
    with Progress(*COLUMNS, console=Console(file=sys.stderr), refresh_per_second=REFRESH_HZ) as progress:
        fleet.run(done=lambda: stop.asked, tell=_bars(progress, fleet.plans))
    accounts = fleet.close()
    for group, summary in accounts.items():
        if (p99 := summary["lateness_ms"]["p99"]) is not None and p99 > LATE_NS / MILLISECOND_NS:
            say(
                f"fleet: 1 % of the frames of {group} left {p99:,.1f} ms late or more: the cameras, or what they wait "
                "for, were the bottleneck; see what they can with --ceiling, and divide them with --processes"
            )
    return accounts, stop.exit_code


def _bars(progress: Progress, plans: Sequence[Plan]) -> Tell:
    """Give what shows how the cameras are getting on."""
    connected = progress.add_task("cameras connected", total=sum(plan.cameras for plan in plans), said="")
    name = "frames sent" if len(plans) == 1 else "{} sent"
    sent = {
        plan.fleet: progress.add_task(name.format(plan.fleet), total=plan.frames_together(), said="") for plan in plans
    }
    confirmed = progress.add_task("frames confirmed", total=sum(plan.frames_together() for plan in plans), said="")

    def show(standing: Standing) -> None:
        progress.update(connected, completed=sum(tally.connected for tally in standing.values()))
        progress.update(confirmed, completed=sum(tally.confirmed for tally in standing.values()))
        for group, tally in standing.items():
            progress.update(sent[group], completed=tally.sent, said=f"{tally.late:,} late, {tally.dropped:,} dropped")

    return show
