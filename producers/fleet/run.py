"""A fleet as a process: plan to ``runs``, frames to MQTT on schedule, account to ``runs``."""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgewise import __version__, account, codecs, dataset, kafka, topics
from edgewise.account import Entry, Plan
from edgewise.arrivals import Arrival, Periodic
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock, SystemClock
from edgewise.entries import await_openings, of_run
from edgewise.errors import ConfigError
from edgewise.kafka import Client
from edgewise.messages import Codec
from edgewise.mqtt.outbox import MqttOutbox
from edgewise.mqtt.presence import await_parts
from edgewise.parts import Stop, close_account, say
from producers.camera.camera import Camera
from producers.fleet.drive import drive

LEAD_S: Final = 0.3
"""From the plan to the first moment of the schedule."""

Awaited = Literal["bridge", "gateway", "cluster"]
ON_KAFKA: Final = {"cluster"}
"""Those of them that say on ``runs`` that they are ready; the others say it over MQTT."""


class FleetSettings(BaseModel):
    """What a fleet is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mqtt: str
    """MQTT broker, host:port."""
    kafka: str
    """Kafka, host:port, for the plan and the account."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    run: str = Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")
    """Name of the run."""
    fleet: str = Field(default="camera", pattern=r"^[a-z0-9-]{1,40}$")
    """Name of the fleet; its cameras are <fleet>-0, <fleet>-1, ..."""
    cameras: int = Field(default=1, ge=1)
    """How many."""
    rate_hz: float = Field(default=10.0, gt=0)
    """Frames a second of each camera; of a trace, on the average."""
    arrival: Arrival = Periodic()
    """How the frames come; a trace has as many cameras and frames as stand here."""
    frames: int = Field(default=1000, ge=1)
    """Frames of each camera; of a trace, of the camera that has most."""
    seed: int = Field(default=1, ge=0)
    """Of phases and image order."""
    order: Literal["stored", "shuffled"] = "stored"
    """Images in the split's stored order, dealt to the cameras in turn; or a seeded permutation."""
    split: Literal["test", "train"] = "test"
    """Of the data set."""
    codec: Codec = Codec.RAW
    """Of the payloads."""
    window: int = Field(default=20, ge=1, le=65_535)
    """Frames in flight of each camera."""
    drop_after_s: float = Field(default=5.0, gt=0)
    """A frame that could not be sent this long after it was due is dropped at source."""
    wait_for: tuple[Awaited, ...] = ("bridge", "gateway")
    """Parts that must be ready before the first frame: subscribed to MQTT, or, the cluster, at work on this run."""
    wait_s: float = Field(default=60.0, gt=0)
    """How long to wait for those on MQTT, then for the cluster, and for the last answers at the end."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""


class Fleet:
    """Cameras by one plan."""

    def __init__(self, settings: FleetSettings, *, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._split = dataset.load(settings.split, say=say)
        self._encoded: dict[int, bytes] = {}
        topics.ensure(settings.kafka, partitions=settings.partitions)
        self._refuse_taken_name()
        self._producer = kafka.producer(settings.kafka, client=settings.kafka_client)
        self._await_readers()
        outboxes = [
            MqttOutbox(
                settings.mqtt,
                camera=f"{settings.fleet}-{index}",
                window=settings.window,
                clock=clock,
                run=settings.run,
            )
            for index in range(settings.cameras)
        ]
        self.plan = self._planned()
        size = (dataset.SIDE, dataset.SIDE)
        self.cameras = [
            Camera(self.plan, index, outbox=outbox, payload=self._payload, size=size, clock=clock)
            for index, outbox in enumerate(outboxes)
        ]

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

    def _refuse_taken_name(self) -> None:
        """Refuse a run that this fleet was part of before: its old results would be taken for the new ones."""
        settings = self._settings
        entries = of_run(settings.kafka, settings.run, client=settings.kafka_client, clock=self._clock)
        if any(isinstance(entry, Plan) and entry.fleet == settings.fleet for entry in entries):
            raise ConfigError(f"--run {settings.run!r} has had a fleet {settings.fleet!r} before; choose another --run")

    def _planned(self) -> Plan:
        settings = self._settings
        return Plan(
            run=settings.run,
            fleet=settings.fleet,
            start_ns=self._clock.now_ns() + round(LEAD_S * SECOND_NS),
            seed=settings.seed,
            cameras=settings.cameras,
            rate_hz=settings.rate_hz,
            arrival=settings.arrival,
            frames=settings.frames,
            order=settings.order,
            dataset=dataset.NAME,
            split=settings.split,
            images=len(self._split.images),
            dataset_sha256=self._split.sha256,
            codec=settings.codec,
            drop_after_s=settings.drop_after_s,
            version=__version__,
        )

    def _payload(self, image: int) -> bytes:
        """Encode an image once: a real camera's encoder is hardware, ours must not make frames late."""
        if image not in self._encoded:
            self._encoded[image] = codecs.encode(self._split.images[image], codec=self._settings.codec)
        return self._encoded[image]

    def _store(self, entry: Entry) -> None:
        self._producer.send(topics.RUNS, key=account.key(entry), value=account.encode(entry), receipt=-1)

    def run(self, *, done: Callable[[], bool], tell: Callable[[int], None]) -> None:
        """Send every frame on schedule, then wait for the last answers; ``tell`` hears how many frames are over."""
        self._store(self.plan)
        drive(self.cameras, clock=self._clock, done=done, tell=tell, answers_within_s=self._settings.wait_s)

    def close(self) -> dict[str, Any]:
        """Write the accounts; give the fleet's."""
        counts: Counter[str] = Counter()
        for camera in self.cameras:
            counts.update(camera.counts())
            self._store(camera.account())
            camera.outbox.close()
        late_ms = np.concatenate([camera.late_ns() for camera in self.cameras]) / MILLISECOND_NS
        summary = {**counts, "lateness_ms": lateness(late_ms), "codec": self._settings.codec.value}
        return close_account(
            self._producer, part="fleet", name=self._settings.fleet, run=self._settings.run, summary=summary
        )


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
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(f"{settings.fleet}: frames", total=fleet.plan.frames_together())
        fleet.run(done=lambda: stop.asked, tell=lambda over: progress.update(task, completed=over))
    return fleet.close(), stop.exit_code
