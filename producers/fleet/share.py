"""The cameras of one process: all of a fleet's, or every Nth."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise import codecs, dataset
from edgewise.account import CameraAccount
from edgewise.clock import SECOND_NS, Clock
from edgewise.errors import EdgewiseError
from edgewise.messages import Codec
from edgewise.mqtt.connection import part
from edgewise.mqtt.link import through
from edgewise.mqtt.outbox import Line, MqttOutbox, Outbox
from edgewise.parts import say, spent
from producers.camera.camera import Camera, Payload
from producers.camera.tally import Tally
from producers.fleet.connecting import connect
from producers.fleet.drive import drive
from producers.fleet.pace import Rota
from producers.fleet.settings import FleetSettings, Group
from producers.fleet.shared import Lane, bundled

SHARED_WINDOW: Final = 65_535
"""Of a connection that cameras share: each has a window of its own."""
ENCODED_MOST: Final = 60_000
"""Images that are kept as a codec wrote them: as many as CIFAR-10 has."""

Standing = Mapping[str, Tally]
"""How far the cameras are, by group."""
Tell = Callable[[Standing], None]


@dataclass(frozen=True, slots=True)
class Account:
    """What cameras of one group did."""

    group: str
    cameras: Sequence[CameraAccount]
    tally: Tally
    late_ns: NDArray[np.int64]
    """Of each frame sent."""
    last_ns: int
    """Moment of the last frame or answer."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Give it in numbers."""
        return self.tally.counts()


@dataclass(frozen=True, slots=True)
class Spent:
    """What the cameras of one process did, and what that cost."""

    accounts: Sequence[Account]
    cpu_s: float
    memory_bytes: int
    hindered: int
    """Cameras that the broker did not let send, or that another client took the place of ..."""
    hindrance: EdgewiseError | None
    """... and what the first of them heard."""
    error: EdgewiseError | None = None
    """What ended all of them before their time."""


class Share:
    """The cameras that one process drives: their schedules worked out, then connected, from the start."""

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
        mine = settings.mine(place)
        self._lines = self._shared(place) if settings.connections else [self._own(*one) for one in mine]
        self._tallies = {group.name: Tally() for group in settings.groups}
        self._cameras: dict[str, list[Camera]] = {group.name: [] for group in settings.groups}
        self._everyone = self._made(mine)
        connect(self._lines, address=settings.mqtt, clock=clock, ramp_hz=settings.ramp_hz / settings.processes)
        self._rota = Rota(self._lines, clock=clock)

    def _own(self, group: Group, index: int) -> MqttOutbox:
        """Give a camera its connection."""
        name = f"{group.name}-{index}"
        return MqttOutbox(
            self._settings.mqtt,
            camera=name,
            window=group.window,
            qos=group.qos,
            clock=self._clock,
            run=self._settings.run,
            through=through(group.link, seed=f"{group.seed}/{name}/link", clock=self._clock),
        )

    def _shared(self, place: int) -> list[Line]:
        """Give connections that are no camera's own: without a status, which would be of all or none."""
        settings = self._settings
        name = f"cameras-{settings.groups[0].name}-{place}-{{}}-{settings.run}"
        return [
            Line(settings.mqtt, client_id=name.format(number), window=SHARED_WINDOW, clock=self._clock)
            for number in range(settings.lines(place))
        ]

    def _made(self, mine: Sequence[tuple[Group, int]]) -> Sequence[tuple[Camera, Outbox]]:
        """Make the cameras, with a schedule that begins at 0: to work it out takes time, which no start is to know."""
        plans = {plan.fleet: plan for plan in self._settings.plans(start_ns=0)}
        payloads = _payloads(self._settings.groups)
        everyone: list[tuple[Camera, Outbox]] = []
        for number, (group, index) in enumerate(mine):
            outbox = self._outbox(number, group, index)
            camera = Camera(
                plans[group.name],
                index,
                outbox=outbox,
                payload=payloads[group.content, group.codec],
                size=(dataset.SIDE, dataset.SIDE),
                tally=self._tallies[group.name],
                clock=self._clock,
                ahead_ns=round(group.clock_ahead_s * SECOND_NS),
            )
            if group.churn.share:
                of_it = {"seed": group.seed, "index": index, "cameras": group.cameras}
                camera.absent(group.churn.away(**of_it, until_ns=camera.lasts_ns()))
            camera.follow(every=self._settings.trace_every)
            self._cameras[group.name].append(camera)
            everyone.append((camera, outbox))
        return everyone

    def _outbox(self, number: int, group: Group, index: int) -> Outbox:
        """Give a camera its way out: its own connection, or its place on one of those that are shared."""
        line = self._lines[number % len(self._lines)]
        if isinstance(line, MqttOutbox):
            return line
        lane = number // len(self._lines)
        return Lane(line, lane, camera=f"{group.name}-{index}", window=group.window, answered=group.qos == 1)

    def keep_alive(self) -> None:
        """Let connections that wait for the start say now and then that they are there."""
        for line in self._rota.take():
            line.receive()

    def drive(self, *, start_ns: int, done: Callable[[], bool], tell: Tell) -> None:
        """Send every frame on schedule, then wait for the last answers; ``tell`` hears how it goes."""
        for camera, _ in self._everyone:
            camera.postpone(by_ns=start_ns)
        lanes = [(camera, outbox) for camera, outbox in self._everyone if isinstance(outbox, Lane)]
        senders = bundled(lanes, clock=self._clock) if lanes else [camera for camera, _ in self._everyone]
        gc.freeze()  # or the collector goes through all of them again and again, and frames wait for it
        drive(
            senders,
            clock=self._clock,
            done=done,
            tell=lambda: tell({name: replace(tally) for name, tally in self._tallies.items()}),
            answers_within_s=self._settings.wait_s,
            ramp_hz=self._settings.ramp_hz / self._settings.processes,
        )

    def close(self) -> Sequence[Spent]:
        """Let the cameras leave; say what they did, all of this process together."""
        left = [line.say_goodbye() for line in self._lines]
        part([connection for connection in left if connection is not None], clock=self._clock)
        for camera, _ in self._everyone:
            camera.give_up()  # of what is not sent by now, whatever ended the drive
        self._count_losses()
        accounts = [
            Account(
                name,
                [camera.account() for camera in cameras],
                self._tallies[name],
                np.concatenate([camera.late_ns() for camera in cameras] or [np.empty(0, np.int64)]),
                max((camera.last_ns for camera in cameras), default=0),
            )
            for name, cameras in self._cameras.items()
        ]
        hindrances = [one for camera, _ in self._everyone if (one := camera.line.trouble) is not None]
        cost = spent()
        return [
            Spent(
                accounts,
                cpu_s=cost["cpu_s"],
                memory_bytes=int(cost["memory_bytes"]),
                hindered=len(hindrances),
                hindrance=next(iter(hindrances), None),
            )
        ]

    def _count_losses(self) -> None:
        """Count each camera that was cut off, and each connection once, however many cameras and groups share it."""
        counted: set[Line] = set()
        for camera, _ in self._everyone:
            line, tally = camera.line, camera.tally
            tally.cameras_cut_off += line.lost > 0
            if line not in counted:
                counted.add(line)
                tally.connections_lost += line.lost


def _payloads(groups: Sequence[Group]) -> Mapping[tuple[str, Codec], Payload]:
    """Give what encodes the groups' images, each once: a real camera's encoder is hardware, ours must not be late."""
    images = {content: _images(group) for content, group in {one.content: one for one in groups}.items()}

    def payload(content: str, codec: Codec) -> Payload:
        def encoded(image: int) -> bytes:
            return codecs.encode(images[content][image], codec=codec)

        # What is raw stands in the cache of the disk as it is.
        return encoded if codec is Codec.RAW else lru_cache(maxsize=ENCODED_MOST)(encoded)

    return {kind: payload(*kind) for kind in {(one.content, one.codec) for one in groups}}


def _images(group: Group) -> NDArray[np.uint8]:
    return (group.images.split() if group.images else dataset.load(group.split, say=say)).images
