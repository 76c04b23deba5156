"""What a cluster is told."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from consumers.cluster.read import Start
from edgewise import topics
from edgewise.endpoint import NOWHERE, Place
from edgewise.kafka import Client
from models.engine import Name


class ClusterSettings(BaseModel):
    """What a cluster is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: str
    """Kafka, host:port."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka from the driver."""
    run: str = ""
    """The run that opening and closing account belong to."""
    master: str = Field(default="", validate_default=True)
    """Spark's: local[N], local-cluster[N,cores,MB], spark://host:port, yarn, k8s://...; empty is local[cores - 1]."""
    engine: Literal["bigdl", "none", Name] = "bigdl"
    """What runs the model; ``none`` answers without looking, to measure everything else."""
    fallback: Literal["", Name] = ""
    """Engine to take where BigDL's native library cannot be loaded; empty is none: say so and end."""
    model: str = "resnet20"
    """A shipped model's name, or a .keras or .onnx file."""
    threads: int = Field(default=1, ge=1)
    """Of the engine in each task; the tasks are what uses the cores."""
    tasks: int = Field(default=0, ge=0)
    """That a micro-batch is divided into; 0 is one for each core."""
    start: Start = "group"
    """Without a checkpoint: where the group got to, the oldest frame, or only what comes from now on."""
    checkpoint: str = ""
    """Folder or URI of how far it got; empty is one for this Kafka and run, in the cache."""
    trigger_ms: int = Field(default=200, ge=0)
    """Shortest time from one micro-batch's start to the next; 0 is at once."""
    batch_max: int = Field(default=2000, ge=1)
    """Frames in a micro-batch, at most."""
    predict_max: int = Field(default=64, ge=1)
    """Frames in one call of the engine, at most."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""
    split_seed: int | None = Field(default=None, ge=0)
    """Of the rule by which each frame goes to one tier: the gateway's are left to it. None answers every frame."""
    cores: int = Field(default=0, ge=0)
    """Of all executors together, on a standalone master; 0 is all it has."""
    executor_cores: int = Field(default=0, ge=0)
    """Of each executor; 0 leaves it to the master."""
    executor_memory: str = "1g"
    """Of each executor, as Spark writes it."""
    driver_memory: str = "2g"
    """Of the driver's Java; with a local master that is all of it."""
    conf: tuple[str, ...] = ()
    """More of Spark's own settings, name=value."""
    log: Path | None = None
    """File for Spark's own words; none is a file in the cache."""
    verbose: bool = False
    """Spark's own words, warnings too, on stderr."""
    metrics: Place = NOWHERE
    """Where a Prometheus may scrape the driver."""

    @field_validator("master")
    @classmethod
    def _usual(cls, master: str) -> str:
        """Leave one core to everything else."""
        return master or f"local[{max(1, len(os.sched_getaffinity(0)) - 1)}]"
