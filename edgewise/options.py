"""Options that several commands share: one spelling, one help, one variable."""

from enum import StrEnum
from typing import Annotated

import typer

from edgewise import topics
from edgewise.kafka import Client


class Format(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"


class Topic(StrEnum):
    """The Kafka topics, by their names."""

    FRAMES = topics.FRAMES
    RESULTS = topics.RESULTS
    REJECTED = topics.REJECTED
    RUNS = topics.RUNS


class BrokerKind(StrEnum):
    """Which MQTT broker is started here."""

    AUTO = "auto"
    MOSQUITTO = "mosquitto"
    HIVEMQ = "hivemq"


Mqtt = Annotated[
    str | None,
    typer.Option(
        "--mqtt", envvar="EDGEWISE_MQTT", metavar="HOST:PORT", help="MQTT broker.", show_default="edgewise up's"
    ),
]
Kafka = Annotated[
    str | None,
    typer.Option("--kafka", envvar="EDGEWISE_KAFKA", metavar="HOST:PORT", help="Kafka.", show_default="edgewise up's"),
]
KafkaClient = Annotated[
    Client, typer.Option("--kafka-client", help="Library that talks to Kafka; auto is confluent if installed.")
]
Partitions = Annotated[
    int, typer.Option("--partitions", min=1, help="Of frames and results, if they are not there yet.")
]
Run = Annotated[str, typer.Option("--run", help="Name of the run that the closing account belongs to.")]
NewRun = Annotated[
    str | None, typer.Option("--run", help="Name of the run; each needs its own.", show_default="from the time")
]
ClientId = Annotated[
    str, typer.Option("--client-id", help="MQTT client id; the frames queued in its session belong to it.")
]
EndSession = Annotated[
    bool, typer.Option("--end-session", help="At the end, have the MQTT broker keep nothing for this client id.")
]
Window = Annotated[int, typer.Option("--window", min=1, max=65_535, help="Frames in flight: taken, not yet finished.")]
Split = Annotated[
    int | None,
    typer.Option(
        "--split",
        min=0,
        metavar="SEED",
        help="Each frame goes to one tier, by this seed: the same for gateway, cluster and ledger.",
        show_default="every frame to each tier",
    ),
]
Prepare = Annotated[
    bool, typer.Option("--prepare", help="Fetch, compile and convert what the first start would, and end.")
]
Print = Annotated[Format, typer.Option("--format", help="Of the account on stdout.")]
Broker = Annotated[BrokerKind, typer.Option("--mqtt-broker", help="Which to start; auto is mosquitto if installed.")]
Codec = Annotated[str, typer.Option("--codec", help="raw, png, jpeg or text.")]
RateHz = Annotated[float, typer.Option("--rate-hz", min=0.001, help="Frames a second of each camera, on schedule.")]
Frames = Annotated[int, typer.Option("--frames", min=1, help="Frames of each camera.")]
FramesIfSaid = Annotated[int | None, typer.Option("--frames", min=1, help="Frames of each camera.", show_default="100")]
RateHzIfSaid = Annotated[
    float | None,
    typer.Option("--rate-hz", min=0.001, help="Frames a second of each camera, on schedule.", show_default="10"),
]
DurationS = Annotated[
    float | None,
    typer.Option(
        "--duration-s", min=0.001, help="In place of --frames: as many as come in so long.", show_default=False
    ),
]
Arrival = Annotated[
    str,
    typer.Option(
        "--arrival",
        metavar="PATTERN",
        help="periodic, poisson, lognormal, burst, diurnal or trace:FILE; with settings: burst:on_s=1,off_s=4.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of phases and image order.")]
Order = Annotated[str, typer.Option("--order", help="stored: images dealt in turn; shuffled: by the seed.")]
DropAfterS = Annotated[
    float,
    typer.Option("--drop-after-s", min=0.001, help="Drop at source what could not be sent this long after it was due."),
]
WaitFor = Annotated[
    str, typer.Option("--wait-for", help="Parts that must be ready first: bridge, gateway, cluster; '' for none.")
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="What runs the model: keras, onnx, openvino or litert; with -int8 or, openvino only, -bf16: fewer bits.",
    ),
]
Model = Annotated[str, typer.Option("--model", help="A shipped model's name, or a .keras or .onnx file.")]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Of the engine; 0 is all cores.")]
