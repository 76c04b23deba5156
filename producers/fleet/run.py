"""A fleet as a process: plan to ``runs``, frames to MQTT on schedule, account to ``runs``."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from edgewise import account, kafka, metrics, topics
from edgewise.account import Closing, Entry, Plan
from edgewise.alive import Alive
from edgewise.clock import SECOND_NS, Clock, SystemClock
from edgewise.endpoint import serving
from edgewise.entries import await_openings, of_run
from edgewise.errors import ConfigError, EdgewiseError, InvalidRunError
from edgewise.log import LOGGER
from edgewise.metrics import Reading
from edgewise.mqtt.presence import await_parts
from edgewise.parts import Stop, close_account, say, warn
from edgewise.soundings import sound
from producers.camera.tally import Tally
from producers.fleet import open_files
from producers.fleet.progress import shown
from producers.fleet.settings import FleetSettings
from producers.fleet.share import Share, Spent, Standing, Tell
from producers.fleet.summary import Summary, summed
from producers.fleet.workers import Workers

OVERDUE_S: Final = 60.0
"""After the last frame was due, from which on a fleet counts as ended, whatever it says."""
ON_KAFKA: Final = {"cluster"}
"""Those of the parts waited for that say on ``runs`` that they are ready; the others say it over MQTT."""


class Cameras(Protocol):
    """All cameras of a fleet, connected: in this process or in several."""

    def drive(self, *, start_ns: int, done: Callable[[], bool], tell: Tell) -> None:
        """Have every frame sent on schedule, from a moment on; ``tell`` hears how it goes."""

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
        self._sound()  # before the schedule begins: it takes a moment
        self._cameras: Cameras = Workers(settings) if settings.processes > 1 else Share(settings, clock=clock)
        if settings.attach:
            self._check_run()  # once more: meanwhile it may have ended
        self._start_ns = settings.begins_ns(clock)
        self.plans = settings.plans(start_ns=self._start_ns)
        self._frames = {plan.fleet: plan.frames_together() for plan in self.plans}
        self._standing: Standing = {}
        self.trouble: EdgewiseError | None = None
        """What kept cameras from sending what they should have, once the accounts are written."""
        self._alive = Alive(clock=clock)

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
        """Refuse a run that this fleet may not begin, or not join: one account must not be taken for another's.

        Raises:
            ConfigError: that.
        """
        settings = self._settings
        entries = of_run(settings.kafka, settings.run, client=settings.kafka_client, clock=self._clock)
        before = {entry.fleet for entry in entries if isinstance(entry, Plan)}
        over = {entry.name for entry in entries if isinstance(entry, Closing) and entry.part == "fleet"}
        # One that was killed has no closing account.
        late_ns = self._clock.now_ns() - round(OVERDUE_S * SECOND_NS)
        over |= {entry.fleet for entry in entries if isinstance(entry, Plan) and entry.end_ns() < late_ns}
        if before and not settings.attach:
            raise ConfigError(
                f"--run {settings.run!r} has had a fleet {min(before)!r} before; choose another --run, "
                f"or join it while it is under way: --attach {settings.run}"
            )
        for group in settings.groups:
            if group.name in before:
                raise ConfigError(
                    f"--attach {settings.run!r} has had a fleet {group.name!r} before; choose another --name"
                )
        if not before and not settings.begin:
            raise ConfigError(f"--attach {settings.run!r}: no fleet of such a run is there; start one with --run")
        if before and before <= over:
            raise ConfigError(f"--attach {settings.run!r}: its fleets have ended; start a new run with --run")

    def _store(self, entry: Entry) -> None:
        self._producer.send(topics.RUNS, key=account.key(entry), value=account.encode(entry), receipt=-1)

    def run(self, *, done: Callable[[], bool], tell: Tell) -> None:
        """Send every frame on schedule, then wait for the last answers; ``tell`` hears how it goes."""
        for plan in self.plans:
            self._store(plan)

        def hear(standing: Standing) -> None:
            self._standing = standing
            self._alive.beat()
            tell(standing)

        self._cameras.drive(start_ns=self._start_ns, done=done, tell=hear)

    def readings(self) -> Iterator[Reading]:
        """Give what there is to scrape now, of each group, all processes together."""
        for group in self._settings.groups:
            tally = self._standing.get(group.name, Tally())
            yield metrics.CAMERAS.of(group.cameras, group.name)
            yield metrics.CAMERAS_CONNECTED.of(tally.connected, group.name)
            yield metrics.FRAMES_SCHEDULED.of(self._frames[group.name], group.name)
            yield metrics.FRAMES_SENT.of(tally.sent, group.name)
            yield metrics.SENT_BYTES.of(tally.sent_bytes, group.name)
            yield metrics.FRAMES_CONFIRMED.of(tally.confirmed, group.name)
            yield metrics.FRAMES_LATE.of(tally.late, group.name)
            yield metrics.FRAMES_DROPPED.of(tally.dropped, group.name)
            yield metrics.LATENESS_SECONDS.of(tally.lateness, group.name)

    def _sound(self) -> None:
        """Compare the clock with Kafka's, before the first frame and after the last."""
        settings = self._settings
        sound(self._producer, part="fleet", name=settings.groups[0].name, run=settings.run, clock=self._clock)

    def close(self) -> Summary:
        """Write the accounts; give them. What the fleet cost stands in the first group's."""
        spent, settings = self._cameras.close(), self._settings
        self._sound()
        for entry in (entry for share in spent for one in share.accounts for entry in one.cameras):
            self._store(entry)
        summary = summed(settings.groups, spent)
        (first, whole), *others = summary.groups.items()
        for name, counts in others:
            self._store(Closing(run=settings.run, part="fleet", name=name, summary=counts))
        close_account(self._producer, part="fleet", name=first, run=settings.run, summary={**whole, **summary.cost})
        self.trouble = self._trouble(spent)
        return summary

    def _trouble(self, spent: Sequence[Spent]) -> EdgewiseError | None:
        settings = self._settings
        if died := settings.processes - len(spent):
            return InvalidRunError(
                f"{died} of the fleet's {settings.processes} processes died; their cameras have no account"
            )
        for share in spent:
            if share.error is not None:
                return share.error
        first = next((share.hindrance for share in spent if share.hindrance is not None), None)
        hindered = sum(share.hindered for share in spent)
        return first and ConfigError(f"{hindered:,} of {settings.cameras:,} cameras were kept from sending: {first}")


def run(settings: FleetSettings) -> tuple[Summary, int]:
    """Run a fleet to the end of its schedule, or until Ctrl-C; give its accounts and its exit code."""
    stop = Stop()
    name = settings.run
    say(f"fleet: run {name}; account for it with: edgewise ledger --run {name} --out runs/{name}")
    clock = SystemClock()
    with serving(settings.metrics, "fleet", name=settings.groups[0].name, run=name) as (told, _):
        fleet = Fleet(settings, clock=clock)
        told.by(fleet.readings)
        stop.holding = True
        say(f"fleet: connected {settings.cameras:,} {'camera' if settings.cameras == 1 else 'cameras'}; sending")
        try:
            with shown(fleet.plans, clock=clock) as tell:
                fleet.run(done=lambda: stop.asked, tell=tell)
        finally:  # whatever ended it: the plan is written, so the account must be
            summary = fleet.close()
    for group, counts in summary.groups.items():
        if counts["bottleneck"]:
            warn(
                f"fleet: the cameras of {group} were the bottleneck: {counts['bottleneck_why']}; "
                "see what they can with --ceiling, and divide them with --processes"
            )
        elif counts["bottleneck_why"]:
            warn(f"fleet: {group}: {counts['bottleneck_why']}")
    if fleet.trouble is None:
        return summary, stop.exit_code
    LOGGER.error("fleet: %s", fleet.trouble)
    return summary, fleet.trouble.exit_code
