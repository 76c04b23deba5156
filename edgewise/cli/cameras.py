"""Cameras: one, or as many as there are in a fleet."""

from pathlib import Path
from typing import Annotated, Final

import typer

from edgewise import addresses, options, show
from edgewise.cli.program import app
from edgewise.clock import SystemClock, utc_name
from edgewise.errors import ConfigError
from edgewise.kafka import Client
from edgewise.options import Format

OF_A_GROUP: Final = (
    *("name", "cameras", "rate_hz", "frames", "duration_s", "arrival", "seed", "order", "codec", "qos", "window"),
    "drop_after_s",
)
"""Options that a fleet file says for each of its groups."""


@app.command()
def camera(
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    run: options.NewRun = None,
    rate_hz: options.RateHz = 10.0,
    frames: options.Frames = 100,
    codec: options.Codec = "raw",
    wait_for: options.WaitFor = "bridge,gateway",
    form: options.Print = Format.TABLE,
) -> None:
    """Publish test images the way one camera would.

    Example: edgewise camera --rate-hz 20 --frames 200
    """
    from producers.fleet.run import run as start
    from producers.fleet.settings import FleetSettings, Group

    settings = FleetSettings(
        mqtt=addresses.mqtt_address(mqtt),
        kafka=addresses.kafka_address(kafka),
        run=run or _named("camera"),
        groups=(Group(rate_hz=rate_hz, frames=frames, codec=codec),),  # type: ignore[arg-type]  # pydantic checks it
        wait_for=_parts(wait_for),  # type: ignore[arg-type]
    )
    accounts, code = start(settings)
    show.accounts(accounts, as_json=form is Format.JSON)
    raise typer.Exit(code)


@app.command()
def fleet(
    context: typer.Context,
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    run: options.NewRun = None,
    attach: Annotated[str | None, typer.Option(metavar="RUN", help="Join this run, which is under way.")] = None,
    groups: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file of groups of cameras, in place of what follows.")
    ] = None,
    name: Annotated[str, typer.Option(help="Its cameras are NAME-0, NAME-1, ...")] = "camera",
    cameras: Annotated[int | None, typer.Option(min=1, help="How many.", show_default="1")] = None,
    rate_hz: options.RateHzIfSaid = None,
    frames: options.FramesIfSaid = None,
    duration_s: options.DurationS = None,
    arrival: options.Arrival = "periodic",
    seed: options.Seed = 1,
    order: options.Order = "stored",
    codec: options.Codec = "raw",
    qos: Annotated[int, typer.Option(min=0, max=1, help="MQTT's: 0 is at most once, unanswered.")] = 1,
    window: options.Window = 20,
    drop_after_s: options.DropAfterS = 5.0,
    processes: Annotated[int, typer.Option(min=1, help="To divide the cameras among.")] = 1,
    ramp_hz: Annotated[float, typer.Option(min=0.001, help="Connections a second.")] = 1000.0,
    wait_for: options.WaitFor = "bridge,gateway",
    wait_s: Annotated[float, typer.Option(help="How long to wait for them, and for the last answers.")] = 60.0,
    partitions: options.Partitions = 4,
    ceiling: Annotated[bool, typer.Option("--ceiling", help="Only measure the most they can send.")] = False,  # noqa: FBT002
    form: options.Print = Format.TABLE,
) -> None:
    """Publish test images the way many cameras would.

    Example: edgewise fleet --cameras 4 --frames 100 --wait-for bridge,gateway,cluster
    """
    from producers.fleet import groups as files
    from producers.fleet.ceiling import measure
    from producers.fleet.run import run as start
    from producers.fleet.settings import FleetSettings

    if run and attach:
        raise ConfigError(f"--run {run} and --attach {attach}: a new run and one that is under way; give one of them")
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
        )
        chosen = (declared.group(name),)
    settings = FleetSettings(
        mqtt="" if ceiling else addresses.mqtt_address(mqtt),
        kafka="" if ceiling else addresses.kafka_address(kafka),
        kafka_client=kafka_client,
        run=run or attach or _named(chosen[0].name),
        attach=attach is not None,
        groups=chosen,
        processes=processes,
        ramp_hz=ramp_hz,
        wait_for=_parts(wait_for),  # type: ignore[arg-type]
        wait_s=wait_s,
        partitions=partitions,
    )
    accounts, code = ({"": measure(settings)}, 0) if ceiling else start(settings)
    show.accounts(accounts, as_json=form is Format.JSON)
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
