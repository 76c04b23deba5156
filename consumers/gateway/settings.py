"""What a gateway is told."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edgewise import topics
from edgewise.endpoint import NOWHERE, Place
from edgewise.kafka import Client


class GatewaySettings(BaseModel):
    """What a gateway is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["mqtt", "kafka"] = "mqtt"
    """Read the MQTT broker beside it, or Kafka as a consumer group."""
    mqtt: str
    """MQTT broker, host:port."""
    kafka: str
    """Kafka, host:port."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    client_id: str = "gateway"
    """MQTT client id: the session, and the frames queued in it, belong to this name."""
    engine: str = "keras"
    """What runs the model."""
    model: str = "resnet20"
    """A shipped model's name, or a file with a card beside it."""
    threads: int = Field(default=0, ge=0)
    """For one batch; 0 is all cores."""
    batch_max: int = Field(default=64, ge=1)
    """Frames in a batch, at most."""
    batch_wait_ms: float = Field(default=0.0, ge=0)
    """How long a batch that is not full waits for more frames."""
    window: int = Field(default=512, ge=1, le=65_535)
    """Frames in flight: taken, not yet answered."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""
    end_session: bool = False
    """At the end, have the MQTT broker keep nothing more for this client id."""
    split_seed: int | None = Field(default=None, ge=0)
    """Of the rule by which each frame goes to one tier: the cluster's are left to it. None answers every frame."""
    run: str = ""
    """The run that the closing account belongs to."""
    metrics: Place = NOWHERE
    """Where a Prometheus may scrape it."""
