"""Whole runs, and what there is to see of them."""

from pathlib import Path
from typing import Annotated

import typer

from edgewise import addresses, options, show
from edgewise.cli.program import app
from edgewise.clock import SystemClock
from edgewise.kafka import Client
from edgewise.options import Format, Topic


@app.command()
def tail(
    topic: Annotated[Topic, typer.Argument(help="Which topic.")],
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    from_end: Annotated[bool, typer.Option("--from-end", help="Only what comes from now on.")] = False,  # noqa: FBT002
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many records.", show_default=False)] = None,
    within_s: Annotated[
        float | None, typer.Option(min=0.1, help="End when nothing has come for so long.", show_default=False)
    ] = None,
    form: options.Print = Format.TABLE,
) -> None:
    """Show a topic's records in readable form, until Ctrl-C.

    Example: edgewise tail results --limit 10
    """
    from edgewise.tail import line
    from edgewise.tail import tail as read

    address = addresses.kafka_address(kafka)
    try:
        for values in read(
            address,
            topic.value,
            client=kafka_client,
            clock=SystemClock(),
            from_end=from_end,
            limit=limit,
            within_s=within_s,
        ):
            show.text(line(values, as_json=form is Format.JSON))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def lag(
    group: Annotated[
        list[str] | None,
        typer.Option(help="Consumer group; may be said more than once.", show_default="gateway, cluster"),
    ] = None,
    kafka: options.Kafka = None,
    watch_s: Annotated[
        float | None, typer.Option(min=0.1, help="Look again every so often, until Ctrl-C.", show_default=False)
    ] = None,
    form: options.Print = Format.TABLE,
) -> None:
    """Show how far consumer groups are behind in the topic frames, by partition.

    Example: edgewise lag --group cluster --watch-s 2
    """
    from edgewise import lag as lags

    address, clock = addresses.kafka_address(kafka), SystemClock()
    try:
        for look in lags.looks(address, groups=group or lags.GROUPS, every_s=watch_s, clock=clock):
            if form is Format.JSON:
                show.text(lags.line(look, at_ns=clock.now_ns()))
            else:
                show.table(lags.rendered(look))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    form: options.Print = Format.TABLE,
) -> None:
    """Show what a run came to.

    Example: edgewise report runs/20261121T120000Z-demo
    """
    from compare import report as reports

    summary = reports.read(run_dir)
    reports.show(summary, as_json=form is Format.JSON)


@app.command()
def demo(
    cameras: Annotated[int, typer.Option(min=1, help="How many.")] = 4,
    rate_hz: options.RateHz = 15.0,
    frames: options.Frames = 600,
    codec: options.Codec = "raw",
    order: options.Order = "stored",
    seed: options.Seed = 1,
    model: options.Model = "resnet20",
    tiers: Annotated[str, typer.Option(help="Which classify the frames, with commas.")] = "gateway,cluster",
    cluster_engine: Annotated[str, typer.Option(help="Of the cluster: bigdl, onnx, openvino, keras.")] = "bigdl",
    master: Annotated[str, typer.Option(help="Spark's.", show_default="local, all cores but one")] = "",
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    mqtt_broker: options.Broker = options.BrokerKind.AUTO,
    runs: Annotated[Path, typer.Option(help="Where the run folder is made.")] = Path("runs"),
) -> None:
    """Run everything on this machine for a minute, then show the report.

    Example: edgewise demo --cameras 8 --codec png
    """
    from compare.demo import DemoSettings
    from compare.demo import run as start

    settings = DemoSettings(
        cameras=cameras,
        rate_hz=rate_hz,
        frames=frames,
        codec=codec,  # type: ignore[arg-type]  # pydantic checks it, and says which are allowed
        order=order,  # type: ignore[arg-type]
        seed=seed,
        model=model,
        tiers=tuple(tiers.split(",")),  # type: ignore[arg-type]
        cluster_engine=cluster_engine,
        master=master,
        mqtt=mqtt and addresses.mqtt_address(mqtt),
        kafka=kafka and addresses.kafka_address(kafka),
        kafka_client=kafka_client,
        mqtt_broker=mqtt_broker,
        runs=runs,
    )
    try:
        raise typer.Exit(start(settings))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def doctor(
    mqtt: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ask this MQTT broker whether it would lose frames.")
    ] = None,
    form: options.Print = Format.TABLE,
) -> None:
    """Say what is here, what is missing, and the command that mends it.

    Example: edgewise doctor --mqtt localhost:1883
    """
    from compare.doctor import run_doctor

    raise typer.Exit(run_doctor(mqtt=mqtt, form=form.value))
