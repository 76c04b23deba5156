"""A frame in a consumer's hands: unopened, opened, answered."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise import codecs
from edgewise.errors import FrameError
from edgewise.messages import Frame, Result, Rule, Tier, decode_frame

BRIDGED_NS: Final = "bridged_ns"
"""Kafka header of a frame: when the bridge took it, decimal nanoseconds since 1970."""
STAMP: Final = re.compile(rb"[0-8]?[0-9]{1,18}")
"""What fits into 64 bits."""


def bridged_ns(headers: Sequence[tuple[str, bytes]]) -> int | None:
    """Read the bridge's stamp among a record's headers; None if there is none, or something else."""
    return stamped_ns(dict(headers).get(BRIDGED_NS))


def stamped_ns(stamp: bytes | None) -> int | None:
    """Read a stamp; None if it is none: any program may write to the topic."""
    return int(stamp) if stamp and STAMP.fullmatch(stamp) else None


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whose it says it is, its bytes, and how to give it back as finished."""

    camera: str
    """From the MQTT topic or the Kafka key; the frame inside must say the same."""
    wire: bytes
    receipt: int
    received_ns: int
    origin: str
    """Where it came from, for a rejection: MQTT topic, or Kafka topic/partition@offset."""
    bridged_ns: int | None = None
    appended_ns: int | None = None
    trace: str | None = None
    """What its message carried, if it is followed: for whoever passes it on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of one image, and when."""

    label: int
    score: float
    started_ns: int
    inferred_ns: int
    batch: int
    """Images in its call of the engine."""


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who answers: the same for all of a part's results."""

    tier: Tier
    engine: str
    model: str
    """Its identity: name@12 hex digits."""
    tasks: int
    """That classify at the same time."""
    worker: str
    """Which process, on which host."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A frame that keeps all rules."""

    arrival: Arrival
    frame: Frame
    image: NDArray[np.uint8]
    """Height x width x 3."""

    def result(self, answer: Answer, *, by: Answerer) -> Result:
        """Write down an answer."""
        frame, arrival = self.frame, self.arrival
        return Result(
            run=frame.run,
            camera=frame.camera,
            number=frame.number,
            dataset=frame.dataset,
            split=frame.split,
            image=frame.image,
            tier=by.tier,
            engine=by.engine,
            model=by.model,
            label=answer.label,
            score=answer.score,
            due_ns=frame.due_ns,
            sent_ns=frame.sent_ns,
            bridged_ns=arrival.bridged_ns,
            appended_ns=arrival.appended_ns,
            received_ns=arrival.received_ns,
            started_ns=answer.started_ns,
            inferred_ns=answer.inferred_ns,
            size_bytes=len(arrival.wire),
            batch=answer.batch,
            tasks=by.tasks,
            worker=by.worker,
        )


def opened(arrival: Arrival, *, shape: tuple[int, int, int]) -> Opened:
    """Decode a frame and its image for a model that takes images of this shape.

    Raises:
        FrameError: it breaks a rule, or the model takes other images.
    """
    return pictured(arrival, unsealed(arrival), shape=shape)


def unsealed(arrival: Arrival) -> Frame:
    """Decode a frame as far as its camera and number can be trusted; its image is not looked at.

    Raises:
        FrameError: it breaks a rule.
    """
    frame = decode_frame(arrival.wire)
    if frame.camera != arrival.camera:
        raise FrameError(Rule.CAMERA, f"{frame.camera!r} inside, {arrival.camera[:80]!r} on the way")
    return frame


def pictured(arrival: Arrival, frame: Frame, *, shape: tuple[int, int, int]) -> Opened:
    """Decode an unsealed frame's image for a model that takes images of this shape.

    Raises:
        FrameError: it breaks a rule, or the model takes other images.
    """
    height, width, _ = shape
    if (frame.height, frame.width) != (height, width):  # before decoding: a picture may unpack to megabytes
        raise FrameError(Rule.DIMENSIONS, f"{frame.width} x {frame.height} pixels, the model takes {width} x {height}")
    return Opened(arrival, frame, codecs.decode(frame))
