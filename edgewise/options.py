"""Options that several commands share: one spelling, one help, one variable."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from edgewise import log, security, topics
from edgewise.addresses import PORT_MAX
from edgewise.kafka import Client

METRICS_PORT: Final = "EDGEWISE_METRICS_PORT"
"""A part's own: of several on one machine only one can have it."""
CAMERAS: Final = "The cameras"
"""Panel of the options that say what cameras are like."""


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
Security = Annotated[
    Path | None,
    typer.Option(
        "--security",
        envvar=security.VARIABLE,
        metavar="DIR|FILE",
        help="TLS, user and password for the brokers: a profile, or a folder of secrets.",
        show_default="plain",
    ),
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
Codec = Annotated[str, typer.Option("--codec", help="raw, png, jpeg or text.", rich_help_panel=CAMERAS)]
RateHz = Annotated[
    float,
    typer.Option("--rate-hz", min=0.001, help="Frames a second of each camera, on schedule.", rich_help_panel=CAMERAS),
]
Frames = Annotated[int, typer.Option("--frames", min=1, help="Frames of each camera.", rich_help_panel=CAMERAS)]
FramesIfSaid = Annotated[
    int | None,
    typer.Option("--frames", min=1, help="Frames of each camera.", show_default="100", rich_help_panel=CAMERAS),
]
RateHzIfSaid = Annotated[
    float | None,
    typer.Option(
        "--rate-hz",
        min=0.001,
        help="Frames a second of each camera, on schedule.",
        show_default="10",
        rich_help_panel=CAMERAS,
    ),
]
DurationS = Annotated[
    float | None,
    typer.Option(
        "--duration-s",
        min=0.001,
        help="In place of --frames: as many as come in so long.",
        show_default=False,
        rich_help_panel=CAMERAS,
    ),
]
Arrival = Annotated[
    str,
    typer.Option(
        "--arrival",
        metavar="PATTERN",
        help="periodic, poisson, lognormal, burst, diurnal or trace:FILE; with settings: burst:on_s=1,off_s=4.",
        rich_help_panel=CAMERAS,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of phases and image order.", rich_help_panel=CAMERAS)]
Order = Annotated[
    str, typer.Option("--order", help="stored: images dealt in turn; shuffled: by the seed.", rich_help_panel=CAMERAS)
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Folder of pictures: a sub-folder for each class, or labels.csv.",
        show_default="CIFAR-10's test images",
        rich_help_panel=CAMERAS,
    ),
]
DropAfterS = Annotated[
    float,
    typer.Option(
        "--drop-after-s",
        min=0.001,
        help="Drop at source what could not be sent this long after it was due.",
        rich_help_panel=CAMERAS,
    ),
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
MetricsPort = Annotated[
    int,
    typer.Option(
        "--metrics-port",
        envvar=METRICS_PORT,
        min=0,
        max=PORT_MAX,
        help="Let a Prometheus scrape this part here; 0 is off.",
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option(
        "--metrics-host",
        envvar="EDGEWISE_METRICS_HOST",
        help="Address to listen on for it: anybody who reaches it may read.",
    ),
]
MetricsBase = Annotated[
    int,
    typer.Option(
        "--metrics-port",
        min=0,
        max=PORT_MAX - 4,
        metavar="BASE",
        help="Let a Prometheus scrape the parts: the fleet here, the others at the ports that follow; 0 is off.",
    ),
]
TraceEvery = Annotated[
    int,
    typer.Option("--trace-every", min=0, metavar="N", help="Follow one in N frames of each camera; 0 is none."),
]
Log = Annotated[
    log.Form, typer.Option("--log", envvar="EDGEWISE_LOG", help="Talk on stderr: text, or JSON, one object a line.")
]
