"""What a fleet is told: its groups of cameras, and how all of them reach the brokers."""

from collections.abc import Sequence
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from edgewise import __version__, dataset, pictures, topics
from edgewise.account import CAMERAS_MOST, FRAMES_MOST, Plan
from edgewise.arrivals import LONGEST_S, TRACE_MOST_BYTES, Arrival, Periodic, Trace
from edgewise.clock import SECOND_NS, Clock
from edgewise.endpoint import NOWHERE, Place
from edgewise.kafka import Client
from edgewise.messages import Codec
from edgewise.mqtt.link import Link, LinkAsSaid
from edgewise.pictures import Pictures
from producers.camera.churn import Churn, ChurnAsSaid

LEAD_S: Final = 0.3
"""From the plan to the first moment of the schedule ..."""
LEAD_EACH_S: Final = 0.000_2
"""... and for each camera of a process, which has worked out its own before and has yet to line up."""

CLOCK_MOST_S: Final = 1_000_000_000
"""Of a wrong clock, about 31 years: 1970 is not too far."""

Awaited = Literal["bridge", "gateway", "cluster"]


class Alike(BaseModel):
    """What cameras of a group have in common, whoever says how many they are and when they send."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(default=1, ge=0)
    """Of phases and image order."""
    order: Literal["stored", "shuffled"] = "stored"
    """Images in the split's stored order, dealt to the cameras in turn; or a seeded permutation."""
    codec: Codec = Codec.RAW
    """Of the payloads."""
    qos: Literal[0, 1] = 1
    """MQTT's: 0 is at most once, and nobody says what arrived."""
    window: int = Field(default=20, ge=1, le=65_535)
    """Frames in flight of each camera."""
    drop_after_s: float = Field(default=5.0, gt=0, le=LONGEST_S)
    """A frame that could not be sent this long after it was due is dropped at source."""
    link: LinkAsSaid = Link()
    """Between each camera and the broker, in words or as a table: ``delay_ms=80,loss_share=0.01``."""
    churn: ChurnAsSaid = Churn()
    """Of the cameras, in words or as a table: ``share=0.2,stay_s=60,away_s=10``."""
    clock_ahead_s: float = Field(default=0.0, ge=-CLOCK_MOST_S, le=CLOCK_MOST_S)
    """How far the clock is ahead by which the cameras stamp their frames; below 0 it is behind."""


class Group(Alike):
    """Cameras that are alike, by one plan."""

    name: str = Field(default="camera", pattern=r"^[a-z0-9-]{1,40}$")
    """Of the group, which is a fleet in the run's account; its cameras are <name>-0, <name>-1, ..."""
    cameras: int = Field(default=1, ge=1, le=CAMERAS_MOST)
    """How many."""
    rate_hz: float = Field(default=10.0, gt=0)
    """Frames a second of each camera; of a trace, on the average."""
    arrival: Arrival = Periodic()
    """How the frames come; a trace has as many cameras and frames as stand here."""
    frames: int = Field(default=1000, ge=1, le=FRAMES_MOST)
    """Frames of each camera; of a trace, of the camera that has most."""
    split: Literal["test", "train"] = "test"
    """Of the data set."""
    images: Pictures | None = None
    """Of a folder, in place of the data set."""

    @model_validator(mode="after")
    def _fits_a_plan(self) -> Self:
        """Refuse what no ledger could keep, and what Kafka would not take: a record may have about a million bytes."""
        trace = self.arrival.size_bytes if isinstance(self.arrival, Trace) else 0
        size_bytes = trace + (len(self.images.labels) if self.images else 0)
        if size_bytes > TRACE_MOST_BYTES:
            raise ValueError(
                f"trace and pictures take {size_bytes:,} bytes of the plan, which holds {TRACE_MOST_BYTES:,}; "
                "divide them among groups"
            )
        try:
            self.plan(run="", start_ns=0)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from error
        return self

    @property
    def content(self) -> str:
        """Tell its images from those of others."""
        return self.images.sha256 if self.images else dataset.SPLITS[self.split].sha256

    def unlike_ideal(self) -> dict[str, Any]:
        """Give what was asked of the cameras that makes them worse than ideal ones, for their account."""
        return self.model_dump(include={"link", "churn", "clock_ahead_s"}, exclude_defaults=True)

    def plan(self, *, run: str, start_ns: int) -> Plan:
        """Write down what the cameras are going to send, and when."""
        content = self.images or dataset.SPLITS[self.split]
        return Plan(
            run=run,
            fleet=self.name,
            start_ns=start_ns,
            seed=self.seed,
            cameras=self.cameras,
            rate_hz=self.rate_hz,
            arrival=self.arrival,
            frames=self.frames,
            order=self.order,
            dataset=pictures.NAME if self.images else dataset.NAME,
            split=self.images.name if self.images else self.split,
            images=content.images,
            dataset_sha256=content.sha256,
            labels=self.images.labels if self.images else "",
            skipped=self.images.skipped if self.images else 0,
            codec=self.codec,
            drop_after_s=self.drop_after_s,
            version=__version__,
        )


class FleetSettings(BaseModel):
    """What a fleet is told."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mqtt: str
    """MQTT broker, host:port."""
    kafka: str
    """Kafka, host:port, for the plans and the accounts."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    run: str = Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")
    """Name of the run."""
    attach: bool = False
    """Whether it may join a run that is under way."""
    begin: bool = True
    """Whether it may begin a run."""
    groups: tuple[Group, ...] = Field(default=(Group(),), min_length=1)
    """The cameras; all groups begin at the same moment."""
    processes: int = Field(default=1, ge=1)
    """That the cameras are dealt to in turn; the frames and their moments stay the same."""
    connections: int | None = Field(default=None, ge=1)
    """That the cameras share, divided among the processes; None: each has its own."""
    ramp_hz: float = Field(default=1000.0, gt=0)
    """Connections a second, at the start and after a loss: a broker must bear them."""
    wait_for: tuple[Awaited, ...] = ("bridge", "gateway")
    """Parts that must be ready before the first frame: subscribed to MQTT, or, the cluster, at work on this run."""
    wait_s: float = Field(default=60.0, gt=0)
    """How long to wait for those on MQTT, then for the cluster, and for the last answers at the end."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""
    trace_every: int = Field(default=0, ge=0)
    """Of each camera's frames one in so many carries a trace's name; 0 is none."""
    metrics: Place = NOWHERE
    """Where a Prometheus may scrape the fleet, all its processes together."""

    @field_validator("groups")
    @classmethod
    def _of_different_names(cls, groups: tuple[Group, ...]) -> tuple[Group, ...]:
        """Refuse cameras of the same name."""
        names = [group.name for group in groups]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two groups are called {min(twice)}")
        return groups

    @field_validator("processes")
    @classmethod
    def _each_has_cameras(cls, processes: int, info: ValidationInfo) -> int:
        """Refuse processes with nothing to do."""
        cameras = sum(group.cameras for group in info.data.get("groups", ()))
        if processes > max(cameras, 1):
            raise ValueError(f"there are only {cameras} cameras to divide among them")
        return processes

    @field_validator("connections")
    @classmethod
    def _can_be_shared(cls, connections: int | None, info: ValidationInfo) -> int | None:
        """Refuse connections that nobody uses, and to share what is a camera's own."""
        groups, processes = info.data.get("groups", ()), info.data.get("processes", 1)
        if connections is None:
            return None
        if connections > (cameras := sum(group.cameras for group in groups)):
            raise ValueError(f"there are only {cameras} cameras to share them")
        if connections < processes:
            raise ValueError(f"each of the {processes} processes needs one")
        for group in groups:
            if group.churn.share or not group.link.perfect:
                what = "come and go" if group.churn.share else "have a link of their own"
                raise ValueError(f"the cameras of {group.name} {what}, and so cannot share a connection")
        return connections

    @property
    def cameras(self) -> int:
        """Count the cameras of all groups."""
        return sum(group.cameras for group in self.groups)

    def lines(self, place: int | None = None) -> int:
        """Count the connections of one of the processes, or of all."""
        everyone = range(self.connections or self.cameras)
        return len(everyone if place is None else everyone[place :: self.processes])

    def mine(self, place: int) -> Sequence[tuple[Group, int]]:
        """Give the cameras that one of the processes drives, each as its group and its number in it."""
        everyone = [(group, index) for group in self.groups for index in range(group.cameras)]
        return everyone[place :: self.processes]

    def begins_ns(self, clock: Clock) -> int:
        """Give the moment that the schedule counts from, if all is ready now."""
        lead_s = LEAD_S + LEAD_EACH_S * len(self.mine(0))
        return clock.now_ns() + round(lead_s * SECOND_NS)

    def plans(self, *, start_ns: int) -> Sequence[Plan]:
        """Write down what the groups are going to send, from a moment on."""
        return [group.plan(run=self.run, start_ns=start_ns) for group in self.groups]
