"""What a fleet is told."""

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
    attach: bool = False
    """Whether to join a run that is under way; otherwise the run may be a new one."""
    fleet: str = Field(default="camera", pattern=r"^[a-z0-9-]{1,40}$")
    """Name of the fleet; its cameras are <fleet>-0, <fleet>-1, ..."""
    cameras: int = Field(default=1, ge=1)
    """How many."""
    processes: int = Field(default=1, ge=1)
    """That the cameras are dealt to in turn; the frames and their moments stay the same."""
    ramp_hz: float = Field(default=1000.0, gt=0)
    """Connections a second, at the start and after a loss: a broker must bear them."""
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

    @field_validator("processes")
    @classmethod
    def _each_has_cameras(cls, processes: int, info: ValidationInfo) -> int:
        """Refuse processes with nothing to do."""
        if processes > (cameras := info.data.get("cameras", processes)):
            raise ValueError(f"there are only {cameras} cameras to divide among them")
        return processes

    def plan(self, *, clock: Clock) -> Plan:
        """Write down what the cameras are going to send, from now on."""
        content = dataset.SPLITS[self.split]
        lead_s = LEAD_S + LEAD_EACH_S * len(self.mine(0))
        return Plan(
            run=self.run,
            fleet=self.fleet,
            start_ns=clock.now_ns() + round(lead_s * SECOND_NS),
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

    def mine(self, place: int) -> range:
        """Give the numbers of the cameras that one of the processes drives."""
        return range(place, self.cameras, self.processes)
