"""What a fleet is told: its groups of cameras, and how all of them reach the brokers."""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from edgewise import __version__, dataset, topics
from edgewise.account import Plan
from edgewise.arrivals import Arrival, Periodic
from edgewise.clock import SECOND_NS, Clock
from edgewise.kafka import Client
from edgewise.messages import Codec

LEAD_S: Final = 0.3
"""From the plan to the first moment of the schedule ..."""
LEAD_EACH_S: Final = 0.000_5
"""... and for each camera of a process, which first works out its own."""

Awaited = Literal["bridge", "gateway", "cluster"]


class Alike(BaseModel):
    """What cameras of a group have in common, whoever says how many they are and when they send."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    drop_after_s: float = Field(default=5.0, gt=0)
    """A frame that could not be sent this long after it was due is dropped at source."""


class Group(Alike):
    """Cameras that are alike, by one plan."""

    name: str = Field(default="camera", pattern=r"^[a-z0-9-]{1,40}$")
    """Of the group, which is a fleet in the run's account; its cameras are <name>-0, <name>-1, ..."""
    cameras: int = Field(default=1, ge=1)
    """How many."""
    rate_hz: float = Field(default=10.0, gt=0)
    """Frames a second of each camera; of a trace, on the average."""
    arrival: Arrival = Periodic()
    """How the frames come; a trace has as many cameras and frames as stand here."""
    frames: int = Field(default=1000, ge=1)
    """Frames of each camera; of a trace, of the camera that has most."""
    split: Literal["test", "train"] = "test"
    """Of the data set."""

    def plan(self, *, run: str, start_ns: int) -> Plan:
        """Write down what the cameras are going to send, and when."""
        content = dataset.SPLITS[self.split]
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
            dataset=dataset.NAME,
            split=self.split,
            images=content.images,
            dataset_sha256=content.sha256,
            codec=self.codec,
            drop_after_s=self.drop_after_s,
            version=__version__,
        )


class FleetSettings(BaseModel):
    """What a fleet is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mqtt: str
    """MQTT broker, host:port."""
    kafka: str
    """Kafka, host:port, for the plans and the accounts."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    run: str = Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")
    """Name of the run."""
    attach: bool = False
    """Whether to join a run that is under way; otherwise the run may be a new one."""
    groups: tuple[Group, ...] = Field(default=(Group(),), min_length=1)
    """The cameras; all groups begin at the same moment."""
    processes: int = Field(default=1, ge=1)
    """That the cameras are dealt to in turn; the frames and their moments stay the same."""
    ramp_hz: float = Field(default=1000.0, gt=0)
    """Connections a second, at the start and after a loss: a broker must bear them."""
    wait_for: tuple[Awaited, ...] = ("bridge", "gateway")
    """Parts that must be ready before the first frame: subscribed to MQTT, or, the cluster, at work on this run."""
    wait_s: float = Field(default=60.0, gt=0)
    """How long to wait for those on MQTT, then for the cluster, and for the last answers at the end."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""

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

    @property
    def cameras(self) -> int:
        """Count the cameras of all groups."""
        return sum(group.cameras for group in self.groups)

    def mine(self, place: int) -> Sequence[tuple[Group, int]]:
        """Give the cameras that one of the processes drives, each as its group and its number in it."""
        everyone = [(group, index) for group in self.groups for index in range(group.cameras)]
        return everyone[place :: self.processes]

    def plans(self, *, clock: Clock) -> Sequence[Plan]:
        """Write down what the groups are going to send, from now on."""
        lead_s = LEAD_S + LEAD_EACH_S * len(self.mine(0))
        start_ns = clock.now_ns() + round(lead_s * SECOND_NS)
        return [group.plan(run=self.run, start_ns=start_ns) for group in self.groups]
