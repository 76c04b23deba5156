"""BigDL's own predict on images in memory: ``python -m tests.benchmarks.bare_bigdl bigdl TASKS`` prints JSON.

As its guides write it: an RDD of samples, cached, and ``Model.predict``, in a JVM of its own.
The network is the one that the cluster runs, built by BigDL's Python interface.
"""

import contextlib
import io
import json
import os
import sys
from typing import Any, Final

import numpy as np

from consumers.cluster.jvm.compile import bigdl_jars
from edgewise import dataset, java
from edgewise.addresses import LOOPBACK
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.family import Family
from edgewise.parts import say
from models import walk
from models.engine import model_file
from models.graph import PIXELS, Graph, Op

IMAGES: Final = 6400
BATCH: Final = 64
ROUNDS: Final = 4
CLOCK: Final = SystemClock()
SETTINGS: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "3g",
    "spark.driver.host": LOOPBACK,
    "spark.driver.bindAddress": LOOPBACK,
    "spark.driver.extraJavaOptions": "-Dbigdl.engineType=mkldnn",
    # What BigDL's own configuration file sets.
    "spark.shuffle.reduceLocality.enabled": "false",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.speculation": "false",
    "spark.serializer": "org.apache.spark.serializer.JavaSerializer",
}


def context(tasks: int) -> Any:  # noqa: ANN401 - BigDL's calls have no types
    """Start Spark with BigDL."""
    os.environ["JAVA_HOME"] = str(java.find().home)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{tasks}]").config("spark.jars", ",".join(map(str, bigdl_jars())))
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    numpy_2()
    from bigdl.dllib.utils.common import init_engine

    init_engine()
    return spark.sparkContext


def numpy_2() -> None:
    """Give BigDL's tensors the way through pickle that its NumPy 1 call no longer is."""
    from bigdl.dllib.utils.common import JTensor

    JTensor.__reduce__ = lambda tensor: (JTensor, (tensor.storage.tobytes(), tensor.shape.tobytes(), tensor.bigdl_type))


def network(read: Graph) -> Any:  # noqa: ANN401
    """Build the network from BigDL's layers."""
    from bigdl.dllib.nn import layer as nn

    start = nn.Input()
    made = {PIXELS: start}
    for node in read.nodes:
        inputs = [made[name] for name in node.inputs]
        match node.op:
            case Op.CONV:
                kernel = node.weights["kernel"]
                height, width, taken, given = kernel.shape
                layer = nn.SpatialConvolution(taken, given, width, height, node.strides[1], node.strides[0], -1, -1)
                layer.set_weights([np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))[None], node.weights["bias"]])
            case Op.DENSE:
                kernel = node.weights["kernel"]
                layer = nn.Linear(*kernel.shape)
                layer.set_weights([np.ascontiguousarray(kernel.T), node.weights["bias"]])
            case Op.GLOBAL_AVERAGE_POOL:
                height, width, channels = read.shape_of(node.inputs[0])
                inputs = [nn.SpatialAveragePooling(width, height)(inputs[0])]
                layer = nn.Reshape([channels])
            case _:
                layer = {Op.RELU: nn.ReLU, Op.ADD: nn.CAddTable, Op.SOFTMAX: nn.SoftMax}[node.op]()
        made[node.name] = layer(inputs if len(inputs) > 1 else inputs[0])
    return nn.Model([start], [made[read.output]]).evaluate()


def main() -> None:
    """Measure and print."""
    tasks = int(sys.argv[2])
    read = walk.read(model_file("resnet20"))
    images = dataset.load("test", say=say).images[:IMAGES]
    with contextlib.redirect_stdout(io.StringIO()):  # it says each layer that it makes
        spark = context(tasks)
        model = network(read)
    scale, offset, nothing = read.scale, read.offset, np.zeros(1, "float32")

    def sample(pixels: bytes) -> Any:  # noqa: ANN401
        from bigdl.dllib.utils.common import Sample

        numpy_2()
        image = np.frombuffer(pixels, np.uint8).reshape(read.shape) * scale + offset
        return Sample.from_ndarray(np.ascontiguousarray(image.astype("float32").transpose(2, 0, 1)), nothing)

    samples = spark.parallelize([image.tobytes() for image in images], tasks).map(sample).cache()
    samples.count()
    family = Family()
    best: dict[str, float] = {"rate_hz": 0.0}
    for _ in range(ROUNDS):
        before_s, began_ns = family.spent()["cpu_s"], CLOCK.ticks_ns()
        model.predict(samples, BATCH * tasks).count()
        rate_hz = IMAGES / ((CLOCK.ticks_ns() - began_ns) / SECOND_NS)
        if rate_hz > best["rate_hz"]:
            best = {"rate_hz": rate_hz, "cpu_us": (family.spent()["cpu_s"] - before_s) / IMAGES * 1e6}
    sys.stdout.write(json.dumps(best) + "\n")


if __name__ == "__main__":
    main()
