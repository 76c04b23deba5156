"""The run's account, as it travels on the topic ``runs``: plans, and what became of them.

Records are JSON. The plan says what was to be sent, so that the ledger can recompute the
schedule; each camera's account says what it sent; a part's opening says that it is
ready, its closing account what it did and what that cost.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from edgewise import arrivals
from edgewise.arrivals import LONGEST_S, Arrival, Periodic, Trace, unpacked
from edgewise.clock import SECOND_NS
from edgewise.messages import Codec

CAMERAS_MOST: Final = 100_000
FRAMES_MOST: Final = 10_000_000
"""Of one camera, and of all cameras of a fleet together: the ledger keeps a row for each."""

Range = tuple[int, int]
"""First and last number, both included."""


def _legal(folded: Sequence[Range]) -> Sequence[Range]:
    """Refuse ranges that no camera writes: whoever unfolds them must not be kept busy."""
    if not all(0 <= first <= last < FRAMES_MOST for first, last in folded):
        raise ValueError(f"a range is first and last, from 0 to {FRAMES_MOST - 1:,}")
    if sum(last - first + 1 for first, last in folded) > 2 * FRAMES_MOST:
        raise ValueError("the ranges lie over one another")
    return folded


Ranges = Annotated[Sequence[Range], AfterValidator(_legal)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Plan(_Entry):
    """What one fleet is going to send. A fleet that joins later writes its own."""

    kind: Literal["plan"] = "plan"
    run: str
    """The run."""
    fleet: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    """Name of the fleet; its cameras are <fleet>-0, <fleet>-1, ..."""
    start_ns: int = Field(ge=0, lt=2**62)
    """Moment that the schedule counts from."""
    seed: int = Field(ge=0)
    """Of the phases and, if shuffled, of the image order."""
    cameras: int = Field(ge=1, le=CAMERAS_MOST)
    """How many."""
    rate_hz: float = Field(gt=0, allow_inf_nan=False)
    """Frames a second of each camera; of a trace, on the average."""
    arrival: Arrival = Periodic()
    """How the frames come; periodic in a plan that does not say."""
    frames: int = Field(ge=1, le=FRAMES_MOST)
    """Frames of each camera; of a trace, of the camera that has most."""
    order: Literal["stored", "shuffled"] = "stored"
    """The split's images in their stored order, dealt to the cameras in turn; or a seeded permutation of it.

    Of no account where a trace says which images."""
    dataset: str
    """cifar10, or pictures: those of a folder."""
    split: str
    """test or train; or the folder's name."""
    images: int = Field(ge=1, le=FRAMES_MOST)
    """Of the split."""
    dataset_sha256: str
    """Of the split's pixels and labels."""
    labels: str = ""
    """Packed as a trace's numbers: the class of each of a folder's pictures. Empty: the ledger has the data set."""
    skipped: int = Field(default=0, ge=0)
    """Files of the folder that could not be sent."""
    codec: Codec
    """Of the payloads."""
    drop_after_s: float = Field(gt=0, allow_inf_nan=False)
    """A frame that could not be sent this long after it was due is dropped at source."""
    version: str
    """Of the kit."""

    @field_validator("arrival")
    @classmethod
    def _has_these_cameras(cls, arrival: Arrival, info: ValidationInfo) -> Arrival:
        """Refuse a trace of another fleet."""
        if isinstance(arrival, Trace) and arrival.cameras() != info.data.get("cameras"):
            raise ValueError(f"the trace has {arrival.cameras():,} cameras")
        return arrival

    @field_validator("frames")
    @classmethod
    def _can_be_kept(cls, frames: int, info: ValidationInfo) -> int:
        """Refuse a schedule that is too large to account for or too long for its moments."""
        cameras, rate_hz = info.data.get("cameras", 1), info.data.get("rate_hz", math.inf)
        arrival = info.data.get("arrival")
        if isinstance(arrival, Trace):  # which has bounds of its own
            if arrival.frames_most() != frames:
                raise ValueError(f"the trace has {arrival.frames_most():,}")
            return frames
        if cameras * frames > FRAMES_MOST:
            raise ValueError(f"{cameras:,} cameras with {frames:,} frames each are more than {FRAMES_MOST:,} together")
        if (frames + 1) / rate_hz > LONGEST_S:
            raise ValueError(f"at {rate_hz} frames a second that takes more than {LONGEST_S:,} s")
        return frames

    @field_validator("images")
    @classmethod
    def _has_these_images(cls, images: int, info: ValidationInfo) -> int:
        """Refuse a trace of images that are not there."""
        arrival = info.data.get("arrival")
        if isinstance(arrival, Trace) and arrival.images_beyond() > images:
            raise ValueError(f"the trace names image {arrival.images_beyond() - 1:,}")
        return images

    @field_validator("labels")
    @classmethod
    def _one_an_image(cls, labels: str, info: ValidationInfo) -> str:
        """Refuse classes of other images."""
        if labels and len(unpacked(labels)) != info.data.get("images"):
            raise ValueError(f"{len(unpacked(labels)):,} labels for {info.data.get('images')} images")
        return labels

    def camera(self, index: int) -> str:
        """Name one camera."""
        return f"{self.fleet}-{index}"

    def frames_of(self, index: int) -> int:
        """Count the frames of one camera."""
        return self.arrival.frames(index) if isinstance(self.arrival, Trace) else self.frames

    def frames_together(self) -> int:
        """Count the frames of all cameras."""
        return self.arrival.frames_together() if isinstance(self.arrival, Trace) else self.cameras * self.frames

    def due_ns(self, index: int) -> NDArray[np.int64]:
        """Give the moments at which a camera's frames are due.

        They stand before the first frame leaves, whatever happens to it and its followers: a
        camera that falls behind is late and never slows down to look on time.
        """
        # Whole numbers before the sum: a float of today's moment counts in steps of 256 ns.
        return self.start_ns + arrivals.due_ns(
            self.arrival, seed=self.seed, index=index, rate_hz=self.rate_hz, frames=self.frames
        )

    def end_ns(self) -> int:
        """Give a moment by which every frame was due."""
        return _end_ns(self)

    def image(self, index: int) -> NDArray[np.int64]:
        """Give the places in the split of a camera's images."""
        if isinstance(self.arrival, Trace) and (traced := self.arrival.image(index)) is not None:
            return traced
        place = (np.arange(self.frames_of(index), dtype=np.int64) * self.cameras + index) % self.images
        if self.order == "stored":
            return place
        return _shuffled(self.seed, self.images)[place]


@lru_cache(maxsize=16)
def _shuffled(seed: int, images: int) -> NDArray[np.int64]:
    """Give a permutation of the images: one for all cameras of a plan, which takes long for many images."""
    order = np.random.default_rng(seed).permutation(images).astype(np.int64)
    order.setflags(write=False)
    return order


@lru_cache(maxsize=1000)
def _end_ns(plan: Plan) -> int:
    """See Plan.end_ns; chance has no bound, so that the moments themselves are asked, once."""
    if isinstance(plan.arrival, Periodic):
        return plan.start_ns + round((plan.frames + 1) / plan.rate_hz * SECOND_NS)
    return max(int(plan.due_ns(index)[-1]) for index in range(plan.cameras))


class CameraAccount(_Entry):
    """What one camera did with its schedule, as ranges of frame numbers."""

    kind: Literal["camera"] = "camera"
    run: str
    """The run."""
    camera: str
    """Its name."""
    sent: Ranges
    """Handed to MQTT."""
    confirmed: Ranges
    """Acknowledged by the broker for at least one reader."""
    unheard: Ranges
    """Acknowledged with reason 16: nobody was subscribed."""
    refused: Ranges
    """Not taken by the broker."""
    dropped: Ranges
    """Not sent in time, dropped at source."""


Part = Literal["fleet", "bridge", "gateway", "cluster", "ledger"]


class Opening(_Entry):
    """That one part is ready: what reaches it from now on is its to answer."""

    kind: Literal["opening"] = "opening"
    run: str
    """The run, or empty if the part was not told."""
    part: Part
    """Which."""
    name: str
    """Which of its kind: the same as in its closing account."""
    ready_ns: int = Field(ge=0, lt=2**62)
    """Moment from which on it was ready."""
    facts: dict[str, Any]
    """What else it says of itself: how long its start took, what it runs on."""


class Closing(_Entry):
    """What one part did, at its end."""

    kind: Literal["closing"] = "closing"
    run: str
    """The run, or empty if the part was not told."""
    part: Part
    """Which."""
    name: str
    """Which of its kind: fleet name or client id."""
    summary: dict[str, Any]
    """Its counts, seconds and bytes."""


class Sounding(_Entry):
    """One exchange of a part with Kafka, to compare their clocks: Kafka's moment is the record's own stamp."""

    kind: Literal["clock"] = "clock"
    run: str
    """The run."""
    part: Part
    """Which."""
    name: str
    """Which of its kind."""
    number: int = Field(ge=0)
    """Of those made one after the other, from 0."""
    machine: str
    """The start of the kernel that the part runs on; parts that have the same have one clock. Empty is not known."""
    sent_ns: int = Field(ge=0, lt=2**62)
    """When the part sent it."""
    before_ns: int | None = Field(default=None, ge=0, lt=2**62)
    """When the part heard that the one before this was stored."""


Entry = Plan | CameraAccount | Opening | Closing | Sounding
"""One record on the topic ``runs``."""
ENTRIES: Final[TypeAdapter[Entry]] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


def key(entry: Entry) -> str:
    """Give the Kafka key; the topic is compacted, so one key holds one truth."""
    match entry:
        case Plan():
            return f"{entry.run}/plan/{entry.fleet}"
        case CameraAccount():
            return f"{entry.run}/camera/{entry.camera}"
        case Opening():
            return f"{entry.run}/opening/{entry.part}/{entry.name}"
        case Closing():
            return f"{entry.run}/closing/{entry.part}/{entry.name}"
        case Sounding():
            return f"{entry.run}/clock/{entry.part}/{entry.name}/{entry.sent_ns}"


def encode(entry: Entry) -> bytes:
    """Write an entry as it travels."""
    return entry.model_dump_json().encode()


def decode(wire: bytes) -> Entry | None:
    """Read an entry; None if it is none (somebody else's record on the topic)."""
    try:
        return ENTRIES.validate_json(wire)
    except ValidationError:
        return None


def ranges(numbers: Iterable[int]) -> list[Range]:
    """Fold sorted numbers into ranges."""
    folded: list[Range] = []
    for number in numbers:
        if folded and folded[-1][1] == number - 1:
            folded[-1] = (folded[-1][0], number)
        else:
            folded.append((number, number))
    return folded


def unfolded(folded: Sequence[Range], *, frames: int) -> NDArray[np.bool_]:
    """Give a mask over a camera's schedule of what the ranges cover, as far as it goes."""
    mask = np.zeros(frames, dtype=np.bool_)
    for first, last in folded:
        mask[max(first, 0) : min(last + 1, frames)] = True
    return mask
