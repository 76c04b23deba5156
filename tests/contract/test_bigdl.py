"""BigDL in the executors' JVM: Kafka's rows in, Keras' classes out, in one Spark session of two tasks."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from consumers.cluster.jvm import compile as cluster
from consumers.cluster.spark import session as sessions
from edgewise import codecs, dataset, split
from edgewise.errors import ConfigError
from edgewise.messages import FRAME_MAX_BYTES, Codec, Result, Rule, Tier, decode_result, encode_frame
from edgewise.parts import say
from edgewise.rejects import KEPT_BYTES
from edgewise.topics import FRAMES, REJECTED, RESULTS
from models import card, walk
from models import engine as engines
from models.exports import bigdl
from models.graph import PIXELS, Graph, Node, Op, Padding
from tests.fakes import FRAME

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

pytestmark = pytest.mark.timeout(300)

MODEL: Final = engines.model_file("resnet20")
COLUMNS: Final = (
    "key binary, value binary, topic string, partition int, offset long, timestamp timestamp, "
    "headers array<struct<key:string,value:binary>>"
)
STAMP: Final = "2025-11-21 00:00:00.126"
Headers = Sequence[tuple[str, bytes | None]]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    pytest.importorskip("bigdl", reason=f"no BigDL; install it with: {cluster.INSTALL_BIGDL}")
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(map(str, [cluster.jar(), *cluster.bigdl_jars()])))
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.local.dir", str(tmp_path_factory.mktemp("spark")))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    # Its Java too, or the next session in this process drops it while it runs.
    sessions.end(SparkContext, SparkContext._gateway)  # noqa: SLF001


@pytest.fixture(scope="module")
def test_images() -> dataset.Split:
    return dataset.load("test", say=say)


@dataclass(frozen=True)
class Arriving:
    """One record of Kafka."""

    wire: bytes | None
    key: bytes | None = FRAME.camera.encode()
    headers: Headers | None = None


def rows(spark: "SparkSession", records: Sequence[Arriving], *, parts: int) -> "DataFrame":
    from pyspark.sql import functions

    columns = COLUMNS.replace("timestamp timestamp", "timestamp string")
    found = [(one.key, one.wire, FRAMES, n % 4, n, STAMP, one.headers) for n, one in enumerate(records)]
    frame = spark.createDataFrame(spark.sparkContext.parallelize(found, parts), columns)
    return frame.withColumn("timestamp", functions.to_timestamp("timestamp"))


def classified(
    spark: "SparkSession",
    records: Sequence[Arriving],
    *,
    engine: str = "bigdl",
    parts: int = 2,
    batch_max: int = 64,
    model: Path = MODEL,
    split_seed: int | None = None,
) -> "list[Row]":
    from pyspark.sql import DataFrame

    ours: Any = spark._jvm.edgewise.cluster.ClassifyFrames  # type: ignore[union-attr]  # noqa: SLF001 - Spark's Java
    file = bigdl.file(model)
    spark.sparkContext.addFile(str(file))
    takes, identity = bigdl.input_of(file), card.read(model).identity
    size = takes.height, takes.width
    seed = None if split_seed is None else str(split_seed)
    function = ours(engine, file.name, identity, *size, takes.scale, takes.offset, 2, batch_max, 1, seed)
    frames = rows(spark, records, parts=parts)
    return DataFrame(ours.apply(frames._jdf, function), spark).collect()  # noqa: SLF001 - as above


def results(found: "Sequence[Row]") -> list[Result]:
    return [decode_result(bytes(row.value)) for row in found if row.topic == RESULTS]


def wire(image: np.ndarray[Any, Any], *, number: int = 0, codec: Codec = Codec.RAW) -> bytes:
    height, width, _ = image.shape
    payload = codecs.encode(image, codec=codec)
    frame = replace(FRAME, number=number, image=number, height=height, width=width, codec=codec, payload=payload)
    return encode_frame(frame)


def test_the_native_library_is_loaded(spark: "SparkSession") -> None:
    assert spark._jvm.edgewise.cluster.ClassifyFrames.probe() == ""  # type: ignore[union-attr]  # noqa: SLF001


@pytest.mark.parametrize(("count", "batch_max"), [(1, 64), (3, 64), (100, 64), (256, 64), (256, 100), (256, 1)])
def test_bigdl_gives_keras_classes_and_scores(
    spark: "SparkSession", test_images: dataset.Split, count: int, batch_max: int
) -> None:
    images = test_images.images[:count]
    labels, scores = engines.load("keras", model="resnet20").classify(images)
    records = [Arriving(wire(image, number=n)) for n, image in enumerate(images)]
    found = sorted(results(classified(spark, records, batch_max=batch_max)), key=lambda one: one.number)
    assert [one.number for one in found] == list(range(count))
    assert [one.label for one in found] == labels.tolist()
    np.testing.assert_allclose([one.score for one in found], scores, atol=1e-4)
    # Each of the two tasks fills batches of its own.
    tasks = {one.worker: sum(1 for other in found if other.worker == one.worker) for one in found}
    assert len(tasks) == min(2, count)
    for one in found:
        assert one.batch in {batch_max, tasks[one.worker] % batch_max}


def test_the_tasks_of_one_jvm_do_not_enter_one_network(spark: "SparkSession", test_images: dataset.Split) -> None:
    images = test_images.images[:64]
    records = [Arriving(wire(images[n % 64], number=n)) for n in range(2000)]
    found = results(classified(spark, records, parts=9))
    by_image = {(one.number % 64, one.label, round(one.score, 3)) for one in found}
    assert len(found) == 2000
    assert len(by_image) == 64


def test_a_result_tells_all_that_is_known(spark: "SparkSession", test_images: dataset.Split) -> None:
    bridged = [("bridged_ns", b"1763000000125000001")]
    record = Arriving(wire(test_images.images[0], number=7), headers=[("other", None), *bridged])
    (row,) = classified(spark, [record], parts=1)
    assert (bytes(row.key).decode(), row.headers) == (FRAME.camera, None)
    (found,) = results([row])
    assert found == replace(
        found,
        run=FRAME.run,
        camera=FRAME.camera,
        number=7,
        dataset=FRAME.dataset,
        split=FRAME.split,
        image=7,
        tier=Tier.CLUSTER,
        engine="bigdl",
        model=card.read(MODEL).identity,
        label=int(test_images.labels[0]),
        due_ns=FRAME.due_ns,
        sent_ns=FRAME.sent_ns,
        bridged_ns=1763000000125000001,
        appended_ns=1763683200126000000,
        size_bytes=len(record.wire or b""),
        batch=1,
        tasks=2,
    )
    assert found.appended_ns is not None
    assert found.appended_ns < found.received_ns <= found.started_ns < found.inferred_ns
    assert found.worker.startswith("driver@")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, None),
        ([], None),
        ([("bridged_ns", None)], None),
        ([("bridged_ns", b"")], None),
        ([("bridged_ns", b"12x")], None),
        ([("bridged_ns", b"-12")], None),
        ([("bridged_ns", b"9223372036854775808")], None),
        ([("bridged_ns", b"8999999999999999999")], 8999999999999999999),
        ([("bridged_ns", b"00000000000000000000")], None),
        ([("bridged_ns", b"1"), ("bridged_ns", b"2")], 2),
    ],
)
def test_the_bridges_stamp_is_read_or_passed_over(
    spark: "SparkSession", test_images: dataset.Split, headers: Headers | None, expected: int | None
) -> None:
    record = Arriving(wire(test_images.images[0]), headers=headers)
    (found,) = results(classified(spark, [record], engine="none", parts=1))
    assert found.bridged_ns == expected


def test_what_is_no_frame_is_rejected_and_harms_no_other(spark: "SparkSession", test_images: dataset.Split) -> None:
    images = test_images.images[:40]
    good = [Arriving(wire(image, number=n)) for n, image in enumerate(images)]
    small = Arriving(wire(images[0][:16, :16]))
    large = Arriving(wire(np.zeros((48, 48, 3), dtype=np.uint8)))
    other_key = Arriving(wire(images[0]), key=("ä" * 70).encode() + b"\xff")
    bad = {
        Rule.EMPTY: [Arriving(None), Arriving(b"", key=None)],
        Rule.TOO_LARGE: [Arriving(bytes(FRAME_MAX_BYTES + 1))],
        Rule.MAGIC: [Arriving(b"GIF89a")],
        Rule.CHECK: [Arriving(wire(images[0])[:-3] + b"abc")],
        Rule.CAMERA: [other_key],
        Rule.DIMENSIONS: [small, large],
    }
    mixed = good[:20] + [one for several in bad.values() for one in several] + good[20:]
    found = classified(spark, mixed, batch_max=8)
    assert sorted(one.number for one in results(found)) == list(range(40))
    assert {one.label for one in results(found)} <= set(range(10))
    rejected = [row for row in found if row.topic == REJECTED]
    assert len(rejected) == sum(map(len, bad.values()))
    by_rule: dict[str, list[Row]] = {}
    for row in rejected:
        by_rule.setdefault(header(row, "rule"), []).append(row)
    assert {rule: len(several) for rule, several in by_rule.items()} == {rule: len(bad[rule]) for rule in bad}
    for rule, several in by_rule.items():
        for row in several:
            wires = {hashlib.sha256(one.wire or b"").hexdigest(): one.wire or b"" for one in bad[Rule(rule)]}
            original = wires[header(row, "sha256")]
            assert [name for name, _ in row.headers] == ["rule", "reason", "size_bytes", "sha256", "from", "by"]
            assert header(row, "reason").startswith(f"{rule}: ")
            assert header(row, "size_bytes") == str(len(original))
            assert header(row, "by") == "cluster"
            assert header(row, "from").startswith(f"kafka {FRAMES}/")
            assert bytes(row.value) == original[:KEPT_BYTES]
    assert bytes(by_rule[Rule.CAMERA][0].key).decode() == "ä" * 64


def header(row: "Row", name: str) -> str:
    return bytes(dict(row.headers)[name]).decode()


def test_frames_of_another_tier_are_left_without_a_row(spark: "SparkSession", test_images: dataset.Split) -> None:
    seed, count = 7, 100
    mine = [number for number in range(count) if split.owner(FRAME.camera, number, seed=seed) is Tier.CLUSTER]
    other = next(number for number in range(count) if number not in mine)
    records = [Arriving(wire(image, number=number)) for number, image in enumerate(test_images.images[:count])]
    odd = encode_frame(replace(FRAME, number=other, codec=Codec.PNG, height=32, width=32))
    records += [
        Arriving(b"GIF89a"),
        Arriving(wire(test_images.images[0], number=other), key=b"camera-8"),
        Arriving(odd),
    ]
    found = classified(spark, records, batch_max=16, split_seed=seed)
    assert sorted(one.number for one in results(found)) == mine
    rejected = [header(row, "rule") for row in found if row.topic == REJECTED]
    assert sorted(rejected) == sorted([Rule.MAGIC, Rule.CAMERA])
    everything = classified(spark, records[:count], engine="none")
    assert len(results(everything)) == count


def test_a_copy_is_made_for_a_frame_that_is_none(spark: "SparkSession") -> None:
    # So a cluster is made ready before the first frame: see warm_up.
    (row,) = classified(spark, [Arriving(b"")], parts=1)
    assert row.topic == REJECTED


# --- the file ------------------------------------------------------------------------------------


def small(*, padding: str = "same", pooled: str = "valid") -> Any:  # noqa: ANN401 - keras is untyped
    """Build a network with what the shipped one lacks: flattening, pooling, windows that are not square."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    x = pixels = keras.Input((9, 7, 3), dtype="uint8")
    x = layers.Rescaling(0.01, -1.0)(x)
    x = layers.Conv2D(8, (3, 5), padding=padding, activation="relu", bias_initializer="uniform", name="c")(x)
    x = layers.MaxPooling2D((3, 2), 2, padding=pooled)(x)
    x = layers.Flatten(name="f")(x)
    x = layers.Dense(16, activation="relu", bias_initializer="uniform")(x)
    return keras.Model(pixels, layers.Dense(4, activation="softmax", name="s")(x))


def padded() -> Any:  # noqa: ANN401 - keras is untyped
    """Build a network with zeros on all sides, a shortcut of every second pixel, and a scaling of each pixel."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    x = pixels = keras.Input((8, 12, 3), dtype="uint8")
    offset = np.random.default_rng(8).normal(size=(8, 12, 3))
    x = layers.Rescaling([0.01, 0.02, 0.03], offset)(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", bias_initializer="uniform")(x)
    y = layers.Conv2D(8, 3, 2, bias_initializer="uniform", name="c")(layers.ZeroPadding2D(1)(x))
    pick = layers.Conv2D(8, 1, 2, use_bias=False)
    x = layers.ReLU()(layers.Add()([y, pick(x)]))
    pick.set_weights([np.eye(4, 8, dtype=np.float32)[None, None]])
    x = layers.Conv2D(8, (3, 5), bias_initializer="uniform")(layers.ZeroPadding2D((1, 2))(x))
    x = layers.Flatten()(layers.AveragePooling2D((4, 6))(x))
    return keras.Model(pixels, layers.Dense(4, activation="softmax")(x))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("pooled", ["same", "valid"])
def test_a_network_of_other_layers_gives_keras_scores(
    spark: "SparkSession", tmp_path: Path, padding: str, pooled: str
) -> None:
    bigdl_and_keras_agree(spark, small(padding=padding, pooled=pooled), tmp_path / "small.bigdl")


def test_zeros_on_all_sides_and_a_scaling_of_each_pixel_give_keras_scores(
    spark: "SparkSession", tmp_path: Path
) -> None:
    bigdl_and_keras_agree(spark, padded(), tmp_path / "padded.bigdl")


def bigdl_and_keras_agree(spark: "SparkSession", model: Any, place: Path) -> None:  # noqa: ANN401 - keras is untyped
    bigdl.write(walk.walked(model), place)
    takes = bigdl.input_of(place)
    images = np.random.default_rng(6).integers(0, 256, (11, *model.input_shape[1:]), dtype=np.uint8)
    expected = np.asarray(model(images, training=False))
    java: Any = spark._jvm  # noqa: SLF001 - Spark's Java
    gateway: Any = spark.sparkContext._gateway  # noqa: SLF001
    scale, offset = (gateway.new_array(java.float, len(takes.scale)) for _ in range(2))
    for place_in, values in enumerate(zip(takes.scale, takes.offset, strict=True)):
        scale[place_in], offset[place_in] = values
    engine = java.edgewise.cluster.BigDl.take(str(place), "small", scale, offset, 8, 1)
    wires = gateway.new_array(java.byte, 11, 0)
    for number, image in enumerate(images):
        wires[number] = bytearray(image.tobytes())
    answers = engine.classify(wires)
    assert list(answers.labels()) == expected.argmax(axis=1).tolist()
    np.testing.assert_allclose(list(answers.scores()), expected.max(axis=1), atol=1e-5)


def test_the_file_says_what_the_network_takes(tmp_path: Path) -> None:
    place = tmp_path / "small.bigdl"
    bigdl.write(walk.walked(small()), place)
    takes = bigdl.input_of(place)
    assert (takes.height, takes.width) == (9, 7)
    np.testing.assert_allclose([takes.scale, takes.offset], [[0.01] * 3, [-1.0] * 3], rtol=1e-6)
    assert [one.name for one in tmp_path.iterdir()] == [place.name]
    content = place.read_bytes()
    names = [node["name"] for node in json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["nodes"]]
    assert {"c", "c/relu", "s", "s/softmax"} <= set(names)
    assert "f" not in names


def node(name: str, op: Op, *inputs: str, **attributes: Any) -> Node:  # noqa: ANN401 - Node's own
    return Node(name=name, op=op, inputs=inputs, shape=(8, 6, 3), **attributes)


def conv(name: str, *inputs: str, **attributes: Any) -> Node:  # noqa: ANN401 - Node's own
    weights = {"kernel": np.zeros((1, 1, 3, 3), dtype=np.float32), "bias": np.zeros(3, dtype=np.float32)}
    return node(name, Op.CONV, *inputs, weights=weights, **attributes)


def network(*nodes: Node) -> Graph:
    ones = np.ones(3, dtype=np.float32)
    return Graph(shape=(8, 6, 3), classes=3, scale=ones, offset=ones, nodes=nodes, output=nodes[-1].name)


ROOT: Final = conv("root", PIXELS)
LEAF: Final = conv("leaf", "root")


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        (
            [conv("wide", PIXELS, strides=(2, 1))],
            "'wide' has strides of 2 and 1, of which BigDL takes one for the other",
        ),
        (
            [conv("odd", PIXELS, padding=Padding.EXPLICIT, margins=(1, 0, 2, 0))],
            "'odd' has 1 rows of zeros above and 2 below, 0 columns left and 0 right: not alike",
        ),
        ([ROOT, node("a", Op.RELU, "root"), conv("b", "root")], "'a' is not alone in what it takes"),
        ([ROOT, LEAF, node("a", Op.ADD, "root", "leaf")], "'a' adds something else than a convolution's own result"),
        ([ROOT, LEAF, node("a", Op.ADD, "leaf", "root", "root")], "'a' adds something else than a convolution's own"),
        ([ROOT, LEAF, node("a", Op.ADD, "leaf", PIXELS), conv("b", PIXELS)], "'a' is not the last to take its other"),
        ([ROOT, LEAF, node("a", Op.ADD, "leaf", "root"), conv("b", "root")], "'a' is not the last to take its other"),
    ],
)
def test_what_bigdl_would_get_wrong_is_refused(nodes: Sequence[Node], why: str) -> None:
    with pytest.raises(ConfigError, match=f"^{why}.*; --engine keras runs every model$"):
        bigdl.encode(network(*nodes))


def test_what_bigdl_gets_right_is_not_refused() -> None:
    assert bigdl.encode(network(ROOT, LEAF, node("a", Op.ADD, "leaf", "root"), node("r", Op.RELU, "a")))


def test_a_file_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    place = bigdl.file(MODEL)
    written = place.stat().st_mtime_ns
    assert bigdl.file(MODEL) == place
    assert place.stat().st_mtime_ns == written
    assert place.name.startswith(f"resnet20-{card.known(MODEL).identity.partition('@')[2]}-")
