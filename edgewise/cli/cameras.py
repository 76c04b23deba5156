"""Cameras: one, or as many as there are in a fleet."""

import socket
from pathlib import Path
from typing import Annotated, Final

import typer

from edgewise import addresses, options, show
from edgewise.addresses import LOOPBACK
from edgewise.cli.program import app
from edgewise.cli.secured import secured
from edgewise.clock import SystemClock, utc_name
from edgewise.errors import ConfigError
from edgewise.kafka import Client
from edgewise.log import Form, speak
from edgewise.options import Format

OF_A_GROUP: Final = (
    *("name", "cameras", "rate_hz", "frames", "duration_s", "arrival", "seed", "order", "codec", "qos", "window"),
    *("drop_after_s", "images", "link", "churn", "clock_ahead_s"),
)
"""Options that a fleet file says for each of its groups."""


@app.command()
@secured("fleet")
def camera(
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    run: options.NewRun = None,
    rate_hz: options.RateHz = 10.0,
    frames: options.Frames = 100,
    codec: options.Codec = "raw",
    wait_for: options.WaitFor = "bridge,gateway",
    trace_every: options.TraceEvery = 0,
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = LOOPBACK,
    talk: options.Log = Form.TEXT,
    form: options.Print = Format.TABLE,
) -> None:
    """Publish test images the way one camera would.

    Example: edgewise camera --rate-hz 20 --frames 200
    """
    from edgewise.endpoint import Place
    from producers.fleet.run import run as start
    from producers.fleet.settings import FleetSettings, Group

    named = run or _named("camera")
    speak(talk, part="fleet", run=named)
    settings = FleetSettings(
        mqtt=addresses.mqtt_address(mqtt),
        kafka=addresses.kafka_address(kafka),
        run=named,
        groups=(Group(rate_hz=rate_hz, frames=frames, codec=codec),),  # type: ignore[arg-type]  # pydantic checks it
        wait_for=_parts(wait_for),  # type: ignore[arg-type]
        trace_every=trace_every,
        metrics=Place(port=metrics_port, host=metrics_host),
    )
    summary, code = start(settings)
    show.summed(summary, as_json=form is Format.JSON)
    raise typer.Exit(code)


@app.command()
@secured("fleet")
def fleet(
    context: typer.Context,
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    run: options.NewRun = None,
    attach: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Join this run, which is under way; with the same --run, or begin it."),
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file of groups, which say what stands under The cameras.")
    ] = None,
    name: Annotated[
        str,
        typer.Option(help="They are NAME-0, NAME-1, ...; {host} is this machine's.", rich_help_panel=options.CAMERAS),
    ] = "camera",
    cameras: Annotated[
        int | None, typer.Option(min=1, help="How many.", show_default="1", rich_help_panel=options.CAMERAS)
    ] = None,
    rate_hz: options.RateHzIfSaid = None,
    frames: options.FramesIfSaid = None,
    duration_s: options.DurationS = None,
    arrival: options.Arrival = "periodic",
    seed: options.Seed = 1,
    order: options.Order = "stored",
    codec: options.Codec = "raw",
    images: options.Images = None,
    qos: Annotated[
        int, typer.Option(min=0, max=1, help="MQTT's: 0 is at most once, unanswered.", rich_help_panel=options.CAMERAS)
    ] = 1,
    window: Annotated[
        int, typer.Option(min=1, max=65_535, help="Frames in flight of each.", rich_help_panel=options.CAMERAS)
    ] = 20,
    drop_after_s: options.DropAfterS = 5.0,
    link: Annotated[
        str,
        typer.Option(
            metavar="SETTINGS",
            help="To the broker: delay_ms=80,loss_share=0.01; also jitter_ms, rate_kbit_s.",
            show_default="a perfect one",
            rich_help_panel=options.CAMERAS,
        ),
    ] = "",
    churn: Annotated[
        str,
        typer.Option(
            metavar="SETTINGS",
            help="A share of them leaves and comes back, again and again: share=0.2,stay_s=60,away_s=10.",
            show_default="all stay",
            rich_help_panel=options.CAMERAS,
        ),
    ] = "",
    clock_ahead_s: Annotated[
        float,
        typer.Option(help="How wrong their clocks are; below 0: behind.", rich_help_panel=options.CAMERAS),
    ] = 0.0,
    processes: Annotated[int, typer.Option(min=1, help="To divide the cameras among.")] = 1,
    connections: Annotated[
        int | None, typer.Option(min=1, help="That the cameras share.", show_default="one for each")
    ] = None,
    ramp_hz: Annotated[float, typer.Option(min=0.001, help="Connections a second.")] = 1000.0,
    wait_for: options.WaitFor = "bridge,gateway",
    wait_s: Annotated[float, typer.Option(help="How long to wait for them, and for the last answers.")] = 60.0,
    partitions: options.Partitions = 4,
    ceiling: Annotated[bool, typer.Option("--ceiling", help="Only measure the most they can send.")] = False,  # noqa: FBT002
    trace_every: options.TraceEvery = 0,
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = LOOPBACK,
    talk: options.Log = Form.TEXT,
    form: options.Print = Format.TABLE,
) -> None:
    """Publish test images the way many cameras would.

    Example: edgewise fleet --cameras 4 --frames 100 --wait-for bridge,gateway,cluster
    """
    from edgewise.endpoint import Place
    from producers.fleet import groups as files
    from producers.fleet.ceiling import measure
    from producers.fleet.run import run as start
    from producers.fleet.settings import FleetSettings

    if run and attach and run != attach:
        raise ConfigError(f"--run {run} and --attach {attach} are two runs; give one of them, or the same twice")
    if groups is not None:
        _refuse_beside(context, groups)
        chosen = files.read(groups)
    else:
        declared = files.Declared(
            cameras=cameras,
            rate_hz=rate_hz,
            frames=frames,
            duration_s=duration_s,
            arrival=arrival,
            seed=seed,
            order=order,  # type: ignore[arg-type]  # pydantic checks these, and says which are allowed
            codec=codec,  # type: ignore[arg-type]
            qos=qos,  # type: ignore[arg-type]
            window=window,
            drop_after_s=drop_after_s,
            images=images,
            link=link,  # type: ignore[arg-type]
            churn=churn,  # type: ignore[arg-type]
            clock_ahead_s=clock_ahead_s,
        )
        chosen = (declared.group(name.replace("{host}", socket.gethostname().lower())),)
    named = run or attach or _named(chosen[0].name)
    speak(talk, part="fleet", run=named)
    settings = FleetSettings(
        mqtt="" if ceiling else addresses.mqtt_address(mqtt),
        kafka="" if ceiling else addresses.kafka_address(kafka),
        kafka_client=kafka_client,
        run=named,
        attach=attach is not None,
        begin=attach is None or run is not None,
        groups=chosen,
        processes=processes,
        connections=connections,
        ramp_hz=ramp_hz,
        wait_for=_parts(wait_for),  # type: ignore[arg-type]
        wait_s=wait_s,
        partitions=partitions,
        trace_every=trace_every,
        metrics=Place(port=metrics_port, host=metrics_host),
    )
    if ceiling:
        show.account(measure(settings), as_json=form is Format.JSON)
        return
    summary, code = start(settings)
    show.summed(summary, as_json=form is Format.JSON)
    raise typer.Exit(code)


def _refuse_beside(context: typer.Context, groups: Path) -> None:
    """Refuse options that the file's groups say themselves: which of the two counted would be a guess."""
    said = [name for name in OF_A_GROUP if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if said:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in said)
        raise ConfigError(f"--groups {groups}: each group says that itself; leave out {words}")


def _named(fleet: str) -> str:
    return f"{utc_name(SystemClock().now_ns())}-{fleet}"


def _parts(words: str) -> tuple[str, ...]:
    return tuple(part for part in words.split(",") if part)
