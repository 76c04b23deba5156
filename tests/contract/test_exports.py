"""Models written for other libraries: each file is read by its own library alone, without ours in between."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.errors import ConfigError
from edgewise.parts import say
from models.engine import load
from models.exports import export
from models.exports.export import Format

pytestmark = pytest.mark.timeout(300)
IMAGES = 64
Labels = NDArray[np.int64]


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.array(dataset.load("test", say=say).images[:IMAGES])


@pytest.fixture(scope="module")
def labels(images: NDArray[np.uint8]) -> Labels:
    """Give what Keras itself says."""
    found, _ = load("keras", model="resnet20").classify(images)
    return np.asarray(found, dtype=np.int64)


def likeliest(chances: NDArray[np.float32]) -> Labels:
    return np.asarray(chances.argmax(axis=1), dtype=np.int64)


def by_onnx_runtime(file: Path, images: NDArray[np.uint8]) -> Labels:
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return likeliest(session.run(None, {session.get_inputs()[0].name: images})[0])


def by_openvino(file: Path, images: NDArray[np.uint8]) -> Labels:
    import openvino  # type: ignore[import-untyped]

    return likeliest(next(iter(openvino.Core().compile_model(file, "CPU")(images).values())))


def by_litert(file: Path, images: NDArray[np.uint8]) -> Labels:
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

    reader: Any = Interpreter(str(file))
    (into,), (out,) = reader.get_input_details(), reader.get_output_details()
    reader.resize_tensor_input(into["index"], images.shape)
    reader.allocate_tensors()
    reader.set_tensor(into["index"], images)
    reader.invoke()
    return likeliest(reader.get_tensor(out["index"]))


READERS: dict[Format, Callable[[Path, NDArray[np.uint8]], Labels]] = {
    Format.ONNX: by_onnx_runtime,
    Format.OPENVINO: by_openvino,
    Format.LITERT: by_litert,
}


@pytest.mark.parametrize("to", READERS)
def test_a_float_export_gives_the_same_labels(
    to: Format, images: NDArray[np.uint8], labels: Labels, tmp_path: Path
) -> None:
    place = tmp_path / f"mine{export.SUFFIXES[to]}"
    told = export.write("resnet20", to=to, out=place)
    assert told.sizes_bytes[place] == place.stat().st_size
    assert f"{place}: " in told.told()
    assert READERS[to](place, images).tolist() == labels.tolist()


@pytest.mark.parametrize("to", READERS)
def test_an_int8_export_is_smaller_and_gives_nearly_the_same_labels(
    to: Format, images: NDArray[np.uint8], labels: Labels, tmp_path: Path
) -> None:
    place = tmp_path / f"mine{export.SUFFIXES[to]}"
    told = export.write("resnet20", to=to, int8=True, out=place)
    assert told.fp32_bytes is not None
    share = sum(told.sizes_bytes.values()) / told.fp32_bytes
    # OpenVINO's file keeps what ONNX calls a quantised layer in several operations, described in XML.
    assert share <= (0.65 if to is Format.OPENVINO else 0.35)
    assert f"{share:.3f} of float32's" in told.told()
    assert (READERS[to](place, images) == labels).sum() >= IMAGES - 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_bigdl_export_is_the_file_that_the_cluster_reads(tmp_path: Path) -> None:
    place = tmp_path / "mine.bigdl"
    told = export.write("resnet20", to=Format.BIGDL, out=place)
    again = export.write("resnet20", to=Format.BIGDL, out=tmp_path / "again.bigdl")
    assert list(told.sizes_bytes.values()) == list(again.sizes_bytes.values())
    assert place.read_bytes() == (tmp_path / "again.bigdl").read_bytes()
    assert place.stat().st_size > 273_658 * 4  # each weight is in it


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"to": Format.BIGDL, "int8": True}, "--int8: BigDL has no int8 of ours; take --to onnx, openvino or litert"),
        ({"to": Format.OPENVINO, "out": Path("a.onnx")}, r"--out a.onnx: OpenVINO's file ends in \.xml"),
        ({"to": Format.ONNX, "out": Path("no/where/a.onnx")}, "--out no/where/a.onnx: there is no folder no/where"),
    ],
)
def test_an_export_that_cannot_be_is_refused(how: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        export.write("resnet20", **how)
