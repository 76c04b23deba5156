"""The cameras of one process: all of a fleet's, or every Nth."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise import codecs, dataset
from edgewise.account import CameraAccount, Plan
from edgewise.clock import SECOND_NS, Clock
from edgewise.mqtt.outbox import MqttOutbox
from edgewise.parts import say, spent
from producers.camera.camera import Camera, Tally
from producers.fleet.drive import Tell, drive
from producers.fleet.settings import FleetSettings

CONNECTING: Final = 16
"""At once: a broker far away takes its time for each."""


@dataclass(frozen=True, slots=True)
class Account:
    """What cameras did, and what that cost."""

    cameras: Sequence[CameraAccount]
    counts: Counter[str]
    late_ns: NDArray[np.int64]
    """Of each frame sent."""
    cpu_s: float
    memory_bytes: int


class Share:
    """The cameras that one process drives, connected from the start."""

    def __init__(self, settings: FleetSettings, *, place: int = 0, clock: Clock) -> None:
        """Connect them.

        Args:
            settings: of the whole fleet.
            place: which of its processes this is, from 0.
            clock: of the schedule.

        Raises:
            UnreachableError: the MQTT broker does not take one of them.
        """
        self._settings, self._clock = settings, clock
        self._split = dataset.load(settings.split, say=say)
        self._encoded: dict[int, bytes] = {}
        self._indices = settings.mine(place)
        self._outboxes = self._connected()
        self._cameras: list[Camera] = []

    def _connected(self) -> list[MqttOutbox]:
        """Connect the cameras, as many a second as are asked for."""
        settings, began_ns = self._settings, self._clock.ticks_ns()
        gap_ns = settings.processes * SECOND_NS / settings.ramp_hz

        def connected(number: int) -> MqttOutbox:
            self._clock.sleep_until(began_ns + round(number * gap_ns))
            camera = f"{settings.fleet}-{self._indices[number]}"
            return MqttOutbox(settings.mqtt, camera=camera, window=settings.window, clock=self._clock, run=settings.run)

        with ThreadPoolExecutor(min(CONNECTING, len(self._indices))) as pool:
            return list(pool.map(connected, range(len(self._indices))))

    def _payload(self, image: int) -> bytes:
        """Encode an image once: a real camera's encoder is hardware, ours must not make frames late."""
        if image not in self._encoded:
            self._encoded[image] = codecs.encode(self._split.images[image], codec=self._settings.codec)
        return self._encoded[image]

    def drive(self, plan: Plan, *, done: Callable[[], bool], tell: Tell) -> None:
        """Send every frame on schedule, then wait for the last answers; ``tell`` hears how it goes."""
        settings, tally = self._settings, Tally()
        size = (dataset.SIDE, dataset.SIDE)
        self._cameras = [
            Camera(plan, index, outbox=outbox, payload=self._payload, size=size, tally=tally, clock=self._clock)
            for index, outbox in zip(self._indices, self._outboxes, strict=True)
        ]
        drive(
            self._cameras,
            tally=tally,
            clock=self._clock,
            done=done,
            tell=tell,
            answers_within_s=settings.wait_s,
            ramp_hz=settings.ramp_hz / settings.processes,
        )

    def close(self) -> Sequence[Account]:
        """Let the cameras leave; say what they did, all of this process together."""
        counts: Counter[str] = Counter()
        accounts = []
        for camera in self._cameras:
            counts.update(camera.counts())
            accounts.append(camera.account())
            camera.outbox.close()
        late_ns = np.concatenate([camera.late_ns() for camera in self._cameras])
        cost = spent()
        return [Account(accounts, counts, late_ns, cpu_s=cost["cpu_s"], memory_bytes=int(cost["memory_bytes"]))]
