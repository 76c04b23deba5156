"""Whole runs, and what there is to see of them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgewise import addresses, options, security, show
from edgewise.cli.program import app
from edgewise.cli.secured import secured
from edgewise.clock import SystemClock
from edgewise.errors import ConfigError, InvalidRunError
from edgewise.kafka import Client
from edgewise.log import Form, speak
from edgewise.messages import Codec
from edgewise.options import Format, Topic


@app.command()
@secured()
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
@secured()
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
@secured()
def watch(
    run: Annotated[str, typer.Option(help="Which run.", show_default="the newest, and the next when it comes")] = "",
    web: Annotated[bool, typer.Option("--web", help="Serve a page instead of drawing here.")] = False,  # noqa: FBT002
    host: Annotated[
        str, typer.Option(help="Address of the page; any but the loopback needs --token-file.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Of the page; 0 is a free one.")] = 8321,
    token_file: Annotated[
        Path | None, typer.Option(help="Holds what a browser must show: 16 characters or more.", show_default="none")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where the run folders are: the verdict is there.")] = Path("runs"),
    report_at: Annotated[
        Path | None, typer.Option("--report", help="The run's folder, if it is elsewhere.", show_default="by its name")
    ] = None,
    split: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="SEED", help="Of the tiers' --split, if it is another seed.", show_default="the fleet's"
        ),
    ] = None,
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    talk: options.Log = Form.TEXT,
) -> None:
    """Watch a run while it happens: on the terminal, or as a page with all cameras.

    Example: edgewise watch --web --port 8321
    """
    from consumers.watch.run import WatchSettings
    from consumers.watch.run import run as start

    speak(talk, part="watch", run=run)
    settings = WatchSettings(
        kafka=addresses.kafka_address(kafka),
        kafka_client=kafka_client,
        run=run,
        runs=runs,
        report=report_at,
        split_seed=split,
        web=web,
        host=host,
        port=port,
        token=security.content(token_file) if token_file else "",
    )
    raise typer.Exit(start(settings))


class ReportFormat(StrEnum):
    """How a run is shown."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Of a run, or of a comparison of several.")],
    other: Annotated[Path | None, typer.Argument(help="Say whether the two differ.", show_default=False)] = None,
    form: Annotated[
        ReportFormat, typer.Option("--format", help="On stdout; html is a page, whose path is printed.")
    ] = ReportFormat.TABLE,
    out: Annotated[
        Path | None, typer.Option(help="Where the page is written.", show_default="report.html in the folder")
    ] = None,
) -> None:
    """Show what a run or a comparison came to, or whether two of them differ.

    Example: edgewise report runs/20261121T120000Z-demo --format html
    """
    from compare.reports import folder as folders

    if form is ReportFormat.HTML and other is None:
        show.text(str(folders.write_page(folder, out)))
        return
    if form is ReportFormat.HTML:
        raise ConfigError("--format html is the page of one folder: compare two with --format table or json")
    if out is not None:
        raise ConfigError(f"--out {out} is the page's place: give --format html with it")
    folders.show_report(folder, other, as_json=form is ReportFormat.JSON)


@app.command()
def audit(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    frames: Annotated[int, typer.Option(min=1, help="Of each tier, classified again at most.")] = 1000,
    model: Annotated[str, typer.Option(help="The run's model.", show_default="the one its tiers were given")] = "",
    codec: Annotated[
        Codec | None, typer.Option(help="Of the run's payloads.", show_default="the manifest's, or raw")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Folders of pictures sent.", show_default="the manifest's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample, and of the shuffled truth.")] = 1,
    form: options.Print = Format.TABLE,
) -> None:
    """Doubt a finished run: its files, counts and labels, its engines' speed, its accuracy.

    Example: edgewise audit runs/20261121T120000Z-demo --frames 500
    """
    from compare.audits import audit as audits
    from compare.audits import audit_shown

    try:
        asked = audits.Asked(frames=frames, model=model, codec=codec, images=tuple(images or ()), seed=seed)
        found = audits.run(run_dir, asked)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    audit_shown.show_audit(found, as_json=form is Format.JSON)
    raise typer.Exit(0 if found.verdict == "PASSED" else InvalidRunError.exit_code)


Runs = Annotated[Path, typer.Option("--runs", help="Where the run folder is made.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A scenario's value: fleet.cameras=8.")
]


@app.command()
@secured()
def demo(
    cameras: Annotated[int, typer.Option(min=1, help="How many.")] = 4,
    rate_hz: options.RateHz = 15.0,
    frames: options.Frames = 600,
    codec: options.Codec = "raw",
    order: options.Order = "stored",
    seed: options.Seed = 1,
    model: options.Model = "resnet20",
    tiers: Annotated[str, typer.Option(help="Which classify the frames, with commas.")] = "gateway,cluster",
    cluster_engine: Annotated[str, typer.Option(help="Of the cluster: bigdl, or one of the gateway's.")] = "bigdl",
    master: Annotated[str, typer.Option(help="Spark's.", show_default="local, all cores but one")] = "",
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    mqtt_broker: options.Broker = options.BrokerKind.AUTO,
    metrics_port: options.MetricsBase = 0,
    trace_every: options.TraceEvery = 0,
    runs: Runs = Path("runs"),
) -> None:
    """Run everything on this machine for a minute, then show the report.

    Example: edgewise demo --cameras 8 --codec png
    """
    from compare import scenario

    over = {
        "name": "demo",
        "placement": scenario.placed(tiers.split(",")),
        "model": model,
        "fleet.cameras": cameras,
        "fleet.rate_hz": rate_hz,
        "fleet.duration_s": frames / rate_hz,
        "fleet.codec": codec,
        "fleet.order": order,
        "fleet.seed": seed,
        "cluster.engine": cluster_engine,
        "cluster.master": master,
    }
    flags = {"fleet.codec": "--codec", "fleet.order": "--order", "fleet.seed": "--seed"}
    flags |= {"cluster.engine": "--cluster-engine", "fleet.rate_hz": "--rate-hz"}
    _compared(
        "laptop",
        over,
        (),
        flags,
        mqtt=mqtt,
        kafka=kafka,
        client=kafka_client,
        broker=mqtt_broker,
        metrics_port=metrics_port,
        trace_every=trace_every,
        runs=runs,
    )


@app.command()
@secured()
def compare(
    scenario: Annotated[
        str,
        typer.Argument(help="A TOML file, or one of laptop, steady, burst, micro-batch, capacity, crossover."),
    ],
    sets: Set = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="capacity|crossover", help="Search for a load: search.kind.", show_default="as it says"),
    ] = None,
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    mqtt_broker: options.Broker = options.BrokerKind.AUTO,
    metrics_port: options.MetricsBase = 0,
    trace_every: options.TraceEvery = 0,
    runs: Runs = Path("runs"),
) -> None:
    """Run a scenario: both tiers on the same frames, or in turn, and a verdict.

    Example: edgewise compare steady --set fleet.cameras=20 --set gateway.engine=onnx
    """
    over = {} if search is None else {"search.kind": search}
    flags = {"search.kind": "--search"}
    _compared(
        scenario,
        over,
        sets or (),
        flags,
        mqtt=mqtt,
        kafka=kafka,
        client=kafka_client,
        broker=mqtt_broker,
        metrics_port=metrics_port,
        trace_every=trace_every,
        runs=runs,
    )


def _compared(
    named: str,
    over: Mapping[str, object],
    sets: Sequence[str],
    flags: Mapping[str, str],
    *,
    mqtt: str | None,
    kafka: str | None,
    client: Client,
    broker: options.BrokerKind,
    metrics_port: int,
    trace_every: int,
    runs: Path,
) -> None:
    from compare import scenario
    from compare.run import run
    from compare.runs.observing import Observing
    from compare.runs.rounds import Surroundings

    around = Surroundings(
        mqtt=mqtt and addresses.mqtt_address(mqtt),
        kafka=kafka and addresses.kafka_address(kafka),
        kafka_client=client,
        mqtt_broker=broker,
        runs=runs,
        observing=Observing(port=metrics_port, trace_every=trace_every),
    )
    try:
        raise typer.Exit(run(scenario.read(named, over=over, sets=sets, flags=flags), around))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
@secured("admin")
def doctor(
    mqtt: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ask this MQTT broker whether it would lose frames.")
    ] = None,
    form: options.Print = Format.TABLE,
) -> None:
    """Say what is here, what is missing, and the command that mends it.

    Example: edgewise doctor --mqtt localhost:1883
    """
    from compare.doctor.doctor import run_doctor

    raise typer.Exit(run_doctor(mqtt=mqtt, form=form.value))
