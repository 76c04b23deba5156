"""The parts, one command for each, in the order the data takes. What a part does stands in the part."""

from pathlib import Path
from typing import Annotated

import typer

from edgewise import addresses, options, show
from edgewise.addresses import LOOPBACK
from edgewise.cli.program import app
from edgewise.cli.secured import secured
from edgewise.kafka import Client
from edgewise.log import Form, speak
from edgewise.options import Format


@app.command()
def up(
    mqtt_port: Annotated[
        int | None, typer.Option(help="1883, or a free one if that is taken.", show_default=False)
    ] = None,
    kafka_port: Annotated[
        int | None, typer.Option(help="9092, or a free one if that is taken.", show_default=False)
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Keep the brokers' data here.", show_default="temporary")] = None,
    mqtt_broker: options.Broker = options.BrokerKind.AUTO,
    security: options.Security = None,
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = LOOPBACK,
    talk: options.Log = Form.TEXT,
) -> None:
    """Start an MQTT broker and Kafka on this machine, until Ctrl-C.

    Example: edgewise up --data brokers-data
    """
    from brokers.up import run_up
    from edgewise.endpoint import Place

    speak(talk, part="up")
    raise typer.Exit(
        run_up(
            mqtt_port=mqtt_port,
            kafka_port=kafka_port,
            data=data,
            mqtt_broker=mqtt_broker.value,
            secured=security,
            place=Place(port=metrics_port, host=metrics_host),
        )
    )


@app.command()
@secured("bridge")
def bridge(
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    client_id: options.ClientId = "bridge",
    share: Annotated[bool, typer.Option("--share", help="Share the frames with other bridges.")] = False,  # noqa: FBT002
    names: Annotated[
        Path | None,
        typer.Option(
            help="Folder of bridges that are alike: each takes a CLIENT_ID-N; of a share, the last keeps its session.",
            show_default=False,
        ),
    ] = None,
    window: options.Window = 1000,
    partitions: options.Partitions = 4,
    end_session: options.EndSession = False,  # noqa: FBT002
    run: options.Run = "",
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = LOOPBACK,
    talk: options.Log = Form.TEXT,
    form: options.Print = Format.TABLE,
) -> None:
    """Carry frames from MQTT to Kafka; lose none.

    Example: edgewise bridge --share --client-id bridge-2
    """
    from brokers.bridge.run import BridgeSettings
    from brokers.bridge.run import run as start
    from edgewise.endpoint import Place

    speak(talk, part="bridge", run=run)
    settings = BridgeSettings(
        mqtt=addresses.mqtt_address(mqtt),
        kafka=addresses.kafka_address(kafka),
        kafka_client=kafka_client,
        client_id=client_id,
        share=share,
        names=names,
        window=window,
        partitions=partitions,
        end_session=end_session,
        run=run,
        metrics=Place(port=metrics_port, host=metrics_host),
    )
    account, code = start(settings)
    show.account(account, as_json=form is Format.JSON)
    raise typer.Exit(code)


@app.command()
@secured("gateway")
def gateway(
    source: Annotated[str, typer.Option(help="mqtt: beside the broker; kafka: as a consumer group.")] = "mqtt",
    mqtt: options.Mqtt = None,
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    client_id: options.ClientId = "gateway",
    engine: options.Engine = "keras",
    model: options.Model = "resnet20",
    threads: options.Threads = 0,
    batch_max: Annotated[int, typer.Option(min=1, help="Frames in a batch, at most.")] = 64,
    batch_wait_ms: Annotated[float, typer.Option(min=0, help="How long a batch that is not full waits.")] = 0.0,
    window: options.Window = 512,
    partitions: options.Partitions = 4,
    split: options.Split = None,
    end_session: options.EndSession = False,  # noqa: FBT002
    run: options.Run = "",
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = LOOPBACK,
    talk: options.Log = Form.TEXT,
    form: options.Print = Format.TABLE,
) -> None:
    """Classify frames on the gateway, with Keras.

    Example: edgewise gateway --batch-max 32 --threads 1
    """
    from consumers.gateway.run import run as start
    from consumers.gateway.settings import GatewaySettings
    from edgewise.endpoint import Place

    speak(talk, part="gateway", run=run)
    settings = GatewaySettings(
        source=source,  # type: ignore[arg-type]  # pydantic checks it, and says which are allowed
        mqtt=addresses.mqtt_address(mqtt),
        kafka=addresses.kafka_address(kafka),
        kafka_client=kafka_client,
        client_id=client_id,
        engine=engine,
        model=model,
        threads=threads,
        batch_max=batch_max,
        batch_wait_ms=batch_wait_ms,
        window=window,
        partitions=partitions,
        split_seed=split,
        end_session=end_session,
        run=run,
        metrics=Place(port=metrics_port, host=metrics_host),
    )
    account, code = start(settings)
    show.account(account, as_json=form is Format.JSON)
    raise typer.Exit(code)


@app.command()
@secured("cluster")
def cluster(
    master: Annotated[
        str,
        typer.Option(
            help="Spark's: local[N], local-cluster[N,cores,MB], spark://HOST:PORT, yarn, k8s://...",
            show_default="local, all cores but one",
        ),
    ] = "",
    engine: Annotated[str, typer.Option(help="What runs the model: bigdl, or one of the gateway's.")] = "bigdl",
    fallback: Annotated[str, typer.Option(help="Engine to take where BigDL cannot be loaded; '' for none.")] = "",
    model: options.Model = "resnet20",
    threads: Annotated[int, typer.Option(min=1, help="Of the engine in each task.")] = 1,
    tasks: Annotated[int, typer.Option(min=0, help="That a micro-batch is divided into; 0 is one a core.")] = 0,
    trigger_ms: Annotated[int, typer.Option(min=0, help="From one micro-batch to the next, at least.")] = 200,
    batch_max: Annotated[int, typer.Option(min=1, help="Frames in a micro-batch, at most.")] = 2000,
    predict_max: Annotated[int, typer.Option(min=1, help="Frames in one call of the engine, at most.")] = 64,
    start: Annotated[
        str, typer.Option(help="Without a checkpoint: group (where it got to), earliest or latest.")
    ] = "group",
    checkpoint: Annotated[str, typer.Option(help="Folder or URI of how far it got.", show_default="in the cache")] = "",
    split: options.Split = None,
    partitions: options.Partitions = 4,
    cores: Annotated[int, typer.Option(min=0, help="Of all executors of a standalone master; 0 is all.")] = 0,
    executor_cores: Annotated[int, typer.Option(min=0, help="Of each executor; 0 is the master's choice.")] = 0,
    executor_memory: Annotated[str, typer.Option(help="Of each executor.")] = "1g",
    driver_memory: Annotated[str, typer.Option(help="Of the driver's Java.")] = "2g",
    conf: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="More of Spark's own settings.")] = None,
    spark_log: Annotated[
        Path | None, typer.Option(help="For Spark's own words.", show_default="by the checkpoint")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Spark's own words on stderr.")] = False,  # noqa: FBT002
    only_prepare: options.Prepare = False,  # noqa: FBT002
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    run: options.Run = "",
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = LOOPBACK,
    talk: options.Log = Form.TEXT,
    form: options.Print = Format.TABLE,
) -> None:
    """Classify frames on the cluster, with Spark and BigDL or another engine.

    Example: edgewise cluster --master "local[2]" --engine onnx
    """
    from consumers.cluster.run import prepare
    from consumers.cluster.run import run as begin
    from consumers.cluster.settings import ClusterSettings
    from edgewise.endpoint import Place

    speak(talk, part="cluster", run=run)
    settings = ClusterSettings(
        kafka="" if only_prepare else addresses.kafka_address(kafka),
        kafka_client=kafka_client,
        run=run,
        master=master,
        engine=engine,  # type: ignore[arg-type]  # pydantic checks these, and says which are allowed
        fallback=fallback,  # type: ignore[arg-type]
        model=model,
        threads=threads,
        tasks=tasks,
        trigger_ms=trigger_ms,
        batch_max=batch_max,
        predict_max=predict_max,
        start=start,  # type: ignore[arg-type]
        checkpoint=checkpoint,
        split_seed=split,
        partitions=partitions,
        cores=cores,
        executor_cores=executor_cores,
        executor_memory=executor_memory,
        driver_memory=driver_memory,
        conf=tuple(conf or ()),
        log=spark_log,
        verbose=verbose,
        metrics=Place(port=metrics_port, host=metrics_host),
    )
    if only_prepare:
        prepare(settings)
        return
    account, code = begin(settings)
    show.account(account, as_json=form is Format.JSON)
    raise typer.Exit(code)


@app.command()
@secured("ledger")
def ledger(
    run: Annotated[str, typer.Option(help="The run to account for.")],
    out: Annotated[Path, typer.Option(help="Folder for frames.parquet and summary.json.")] = Path(),
    kafka: options.Kafka = None,
    kafka_client: options.KafkaClient = Client.AUTO,
    tiers: Annotated[
        str,
        typer.Option(
            help="gateway, cluster, or both with a comma: each owes a result for every frame, or for its own."
        ),
    ] = "gateway",
    settle_s: Annotated[float, typer.Option(help="How long nothing may arrive before missing is missing.")] = 10.0,
    deadline_ms: Annotated[float, typer.Option(help="By when an answer is on time, from due to seen.")] = 500.0,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What makes a run INVALID: see docs/report.md.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="What the tiers were given: engines that passed its check may stand for it.")
    ] = "",
    split: options.Split = None,
    partitions: options.Partitions = 4,
    trace_out: Annotated[
        str,
        typer.Option(
            metavar="FILE|URL",
            help="For the traces of frames that are followed: a file, or a collector, http://HOST:4318.",
            show_default="none",
        ),
    ] = "",
    metrics_port: options.MetricsPort = 0,
    metrics_host: options.MetricsHost = LOOPBACK,
    talk: options.Log = Form.TEXT,
    form: options.Print = Format.TABLE,
) -> None:
    """Account for every frame of a run: what was answered, rightly or not, and what is missing.

    Example: edgewise ledger --run camera --tiers gateway,cluster --out runs/camera
    """
    from compare.reports import report as reports
    from consumers.ledger import limits
    from consumers.ledger.run import LedgerSettings
    from consumers.ledger.run import run as start
    from edgewise.endpoint import Place

    speak(talk, part="ledger", run=run)
    settings = LedgerSettings(
        kafka=addresses.kafka_address(kafka),
        kafka_client=kafka_client,
        run=run,
        tiers=tuple(tiers.split(",")),  # type: ignore[arg-type]  # pydantic checks them
        out=out,
        settle_s=settle_s,
        deadline_ms=deadline_ms,
        limits=limits.typed(limit or ()),
        model=model,
        split_seed=split,
        partitions=partitions,
        trace_out=trace_out,
        metrics=Place(port=metrics_port, host=metrics_host),
    )
    summary, code = start(settings)
    reports.show(summary, as_json=form is Format.JSON)
    raise typer.Exit(code)
