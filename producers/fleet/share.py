"""The cameras of one process: all of a fleet's, or every Nth."""

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise import codecs, dataset
from edgewise.account import CameraAccount, Plan
from edgewise.clock import SECOND_NS, Clock
from edgewise.messages import Codec
from edgewise.mqtt.outbox import MqttOutbox
from edgewise.parts import say, spent
from producers.camera.camera import Camera, Payload, Tally
from producers.fleet.drive import drive
from producers.fleet.settings import FleetSettings, Group

CONNECTING: Final = 16
"""At once: a broker far away takes its time for each."""

KEPT_S: Final = 5
"""From one look after those that are connected to the next, while others are not."""

Standing = Mapping[str, Tally]
"""How far the cameras are, by group."""
Tell = Callable[[Standing], None]


@dataclass(frozen=True, slots=True)
class Account:
    """What cameras of one group did."""

    group: str
    cameras: Sequence[CameraAccount]
    counts: Counter[str]
    late_ns: NDArray[np.int64]
    """Of each frame sent."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the cameras of one process did, and what that cost."""

    accounts: Sequence[Account]
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
        self._images = {
            split: dataset.load(split, say=say).images for split in {group.split for group in settings.groups}
        }
        self._encoded: dict[tuple[str, Codec, int], bytes] = {}
        self._mine = settings.mine(place)
        self._kept_ns = clock.ticks_ns()
        self._outboxes: Sequence[MqttOutbox] = ()
        self._outboxes = self._connected()
        self._tallies = {group.name: Tally() for group in settings.groups}
        self._cameras: dict[str, list[Camera]] = {group.name: [] for group in settings.groups}

    def _connected(self) -> list[MqttOutbox]:
        """Connect the cameras, as many a second as are asked for; those that are connected stay so meanwhile."""
        gap_ns = round(self._settings.processes * SECOND_NS / self._settings.ramp_hz)
        next_ns = self._clock.ticks_ns()
        coming: list[Future[MqttOutbox]] = []
        pool = ThreadPoolExecutor(min(CONNECTING, len(self._mine)))
        try:
            for group, index in self._mine:
                if len(coming) >= CONNECTING:
                    coming[-CONNECTING].result()  # no more at once, and none to be made up for later
                while (now_ns := self._clock.ticks_ns()) < next_ns:
                    self._clock.sleep_until(min(next_ns, now_ns + SECOND_NS))
                    self.keep_alive(one.result() for one in coming if one.done())
                next_ns = max(next_ns, now_ns) + gap_ns
                coming.append(pool.submit(self._connect, group, index))
            return [one.result() for one in coming]
        finally:
            pool.shutdown(cancel_futures=True)

    def _connect(self, group: Group, index: int) -> MqttOutbox:
        return MqttOutbox(
            self._settings.mqtt,
            camera=f"{group.name}-{index}",
            window=group.window,
            qos=group.qos,
            clock=self._clock,
            run=self._settings.run,
        )

    def keep_alive(self, outboxes: Iterable[MqttOutbox] | None = None) -> None:
        """Let connections that wait for the start, or some of them, say now and then that they are there."""
        if self._clock.ticks_ns() < self._kept_ns + KEPT_S * SECOND_NS:
            return
        self._kept_ns = self._clock.ticks_ns()
        for outbox in self._outboxes if outboxes is None else outboxes:
            outbox.receive()

    def _payload(self, group: Group) -> Payload:
        """Give what encodes a group's images, each once: a real camera's encoder is hardware, ours must not be late."""
        images, encoded = self._images[group.split], self._encoded

        def payload(image: int) -> bytes:
            key = (group.split, group.codec, image)
            if (known := encoded.get(key)) is None:
                known = encoded[key] = codecs.encode(images[image], codec=group.codec)
            return known

        return payload

    def drive(self, plans: Sequence[Plan], *, done: Callable[[], bool], tell: Tell) -> None:
        """Send every frame on schedule, then wait for the last answers; ``tell`` hears how it goes."""
        by_group = {plan.fleet: plan for plan in plans}
        payloads = {group.name: self._payload(group) for group in self._settings.groups}
        everyone = []
        for (group, index), outbox in zip(self._mine, self._outboxes, strict=True):
            camera = Camera(
                by_group[group.name],
                index,
                outbox=outbox,
                payload=payloads[group.name],
                size=(dataset.SIDE, dataset.SIDE),
                tally=self._tallies[group.name],
                clock=self._clock,
            )
            self._cameras[group.name].append(camera)
            everyone.append(camera)
        gc.freeze()  # or the collector goes through all of them again and again, and frames wait for it
        drive(
            everyone,
            clock=self._clock,
            done=done,
            tell=lambda: tell({name: replace(tally) for name, tally in self._tallies.items()}),
            answers_within_s=self._settings.wait_s,
            ramp_hz=self._settings.ramp_hz / self._settings.processes,
        )

    def close(self) -> Sequence[Spent]:
        """Let the cameras leave; say what they did, all of this process together."""
        accounts = []
        for name, cameras in self._cameras.items():
            counts: Counter[str] = Counter()
            for camera in cameras:
                counts.update(camera.counts())
                camera.outbox.close()
            late_ns = np.concatenate([camera.late_ns() for camera in cameras] or [np.empty(0, np.int64)])
            accounts.append(Account(name, [camera.account() for camera in cameras], counts, late_ns))
        cost = spent()
        return [Spent(accounts, cpu_s=cost["cpu_s"], memory_bytes=int(cost["memory_bytes"]))]
