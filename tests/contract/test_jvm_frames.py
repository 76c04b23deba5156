"""The cluster's Scala opens frames as Python does: the same rule for every damaged byte, the same pixels.

Driven through py4j in a JVM without Spark. Random damage is seeded, so a failure comes again.
"""

import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError, get_return_value

from consumers.cluster.jvm import compile as cluster
from edgewise import codecs, java, split
from edgewise.arrival import opened
from edgewise.errors import FrameError
from edgewise.messages import (
    CHECK_BYTES,
    HEADER_BYTES,
    Codec,
    Frame,
    Result,
    Rule,
    Tier,
    encode_frame,
    encode_result,
)
from tests.fakes import FRAME, RESULT, arrival
from tests.faults.test_damaged import KINDS
from tests.unit.test_messages import BODY, WIRE, sealed
from tests.unit.test_split import FAR, FIRST, SEED

pytestmark = pytest.mark.timeout(300)

Size = tuple[int, int]
"""Height and width."""
SIZE: Final = (24, 28)
ODD: Final = (37, 53)
TIMES: Final = 300
"""Damaged frames of each kind."""

Pixels = NDArray[np.uint8]
Damage = Callable[[bytes], bytes]


class Scala:
    """The cluster's classes, in the other process."""

    def __init__(self, gateway: JavaGateway) -> None:
        self.java: Any = gateway.jvm
        self._openers: dict[tuple[int, int], Any] = {}

    def verdict(self, wire: bytes, *, size: Size = SIZE, camera: str = FRAME.camera) -> object:
        """Give the image's bytes, or the text of the refusal."""
        opener = self._openers.setdefault(size, None) or self.java.edgewise.cluster.Opener(*size)
        self._openers[size] = opener
        try:
            return bytes(opener.open(camera, bytearray(wire)).image())
        except Py4JJavaError as error:
            if error.java_exception.getClass().getName() != "edgewise.cluster.FrameError":
                raise
            return str(error.java_exception.getMessage())


@contextmanager
def started(*options: str) -> Iterator[Scala]:
    """Run a JVM with the cluster's classes."""
    pytest.importorskip("bigdl", reason=f"no BigDL; install it with: {cluster.INSTALL_BIGDL}")
    spark = cluster.spark_jars()
    (bridge,) = (one for one in spark if one.name.startswith("py4j-"))
    port, token = launch_gateway(
        jarpath=str(bridge),
        classpath=":".join(map(str, [cluster.jar(), *spark, *cluster.bigdl_jars()])),
        javaopts=list(options),
        java_path=str(java.find().program),
        die_on_exit=True,
        enable_auth=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    with pytest.MonkeyPatch.context() as patched:
        # A Spark session of an earlier test has taken over py4j's exceptions, to ask its own JVM about them.
        patched.setattr("py4j.java_gateway.get_return_value", get_return_value)
        yield Scala(gateway)
    gateway.shutdown()


@pytest.fixture(scope="module")
def scala() -> Iterator[Scala]:
    with started() as running:
        yield running


def python(wire: bytes, *, size: Size = SIZE, camera: str = FRAME.camera) -> object:
    try:
        return opened(arrival(wire, camera=camera), shape=(*size, 3)).image.tobytes()
    except FrameError as error:
        return str(error)


def rule(verdict: object) -> str:
    return verdict.partition(":")[0] if isinstance(verdict, str) else "none"


def images(count: int, *, size: Size = SIZE) -> list[Pixels]:
    """Pictures with slopes and edges, so that every filter and every frequency has something to do."""
    dice = np.random.default_rng(3)
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    made = []
    for _ in range(count):
        waves = [np.sin(rows * down + columns * right + start) for down, right, start in dice.uniform(0.0, 1.5, (3, 3))]
        noise = dice.integers(-20, 21, (height, width, 3))
        made.append(np.clip(np.stack(waves, axis=2) * 120 + 128 + noise, 0, 255).astype(np.uint8))
    return made


def framed(payload: bytes, codec: Codec, *, size: Size = SIZE) -> bytes:
    return encode_frame(replace(FRAME, payload=payload, codec=codec, height=size[0], width=size[1]))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def damage(dice: np.random.Generator) -> Damage:
    """Flip, set, drop, add or cut off a few bytes."""

    def done(content: bytes) -> bytes:
        body = bytearray(content)
        for _ in range(int(dice.integers(1, 4))):
            if not body:
                break
            place, count = int(dice.integers(0, len(body))), int(dice.integers(1, 9))
            match int(dice.integers(0, 5)):
                case 0:
                    body[place] ^= 1 << int(dice.integers(0, 8))
                case 1:
                    body[place] = int(dice.integers(0, 256))
                case 2:
                    del body[place : place + count]
                case 3:
                    body[place:place] = dice.bytes(count)
                case _:
                    del body[place:]
        return bytes(body)

    return done


# --- frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", Codec)
def test_an_image_is_the_same_in_both_languages(scala: Scala, codec: Codec) -> None:
    for image in images(20):
        wire = framed(codecs.encode(image, codec=codec), codec)
        assert scala.verdict(wire) == python(wire)
        if codec is not Codec.JPEG:
            assert scala.verdict(wire) == image.tobytes()


def test_every_kind_of_damage_breaks_the_same_rule(scala: Scala) -> None:
    for _, make in KINDS:
        for _ in range(5):
            wire, expected = make()
            verdict = scala.verdict(wire, size=(32, 32), camera="broken-0")
            assert rule(verdict) == expected, make.__name__


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        bytes(1_000_001),
        b"\xff\xd8\xff\xe0 a picture",
        b"\xc3",
        b"\xc3\x01",
        b"\xc3\x01\x00\x01",
        encode_result(RESULT),
        WIRE[:-1] + b"\0",
        WIRE[:HEADER_BYTES],
        sealed(BODY + b"\0"),
        encode_frame(replace(FRAME, number=-1)),
        encode_frame(replace(FRAME, image=-2)),
        encode_frame(replace(FRAME, camera="Cam/1")),
        encode_frame(replace(FRAME, camera="")),
        encode_frame(replace(FRAME, camera="a" * 65)),
        encode_frame(replace(FRAME, camera="it's\n")),
        encode_frame(replace(FRAME, width=0)),
        encode_frame(replace(FRAME, height=-5)),
        encode_frame(replace(FRAME, width=2**31 - 1, height=2**31 - 1)),
        encode_frame(replace(FRAME, payload=b"")),
        encode_frame(replace(FRAME, camera="camera-8")),
        encode_frame(replace(FRAME, width=3)),
        encode_frame(replace(FRAME, payload=bytes(7))),
    ],
)
def test_each_rule_is_named_with_the_same_words(scala: Scala, wire: bytes) -> None:
    size = (FRAME.height, FRAME.width)
    expected = python(wire, size=size)
    assert scala.verdict(wire, size=size) == expected or rule(expected) == Rule.CAMERA
    assert rule(scala.verdict(wire, size=size)) == rule(expected)


@pytest.mark.parametrize(
    "body",
    [
        b"\x01" * 200,  # negative lengths
        b"\xff" * 200,  # a number that never ends
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 50,  # a string of 2**62 bytes
        b"\x06\xed\xa0\x80" + BODY[16:],  # half a pair of UTF-16
        b"\x04\xc0\x80" + BODY[16:],  # NUL the long way
        b"\x08\xf4\x90\x80\x80" + BODY[16:],  # beyond Unicode
        BODY.replace(b"\x9c\x9c\x01", b"\x9c\x9c\x81" + b"\x80" * 9 + b"\x00"),  # a number longer than it need be
        *(BODY.replace(b"\x04\x02\x00\xaa", b"\x04\x02" + bytes([index]) + b"\xaa") for index in range(12)),  # codecs
    ],
)
def test_odd_fields_are_read_alike(scala: Scala, body: bytes) -> None:
    size = (FRAME.height, FRAME.width)
    wire = sealed(body)
    verdict, expected = scala.verdict(wire, size=size), python(wire, size=size)
    assert rule(verdict) == rule(expected)
    assert isinstance(expected, str) or verdict == expected


def compared(scala: Scala, wires: Iterator[bytes]) -> Counter[str]:
    """Count where the two differ, by what each says; nothing but refusals may come out of the JVM."""
    differing: Counter[str] = Counter()
    for wire in wires:
        theirs, ours = scala.verdict(wire), python(wire)
        if rule(theirs) != rule(ours) or (isinstance(ours, bytes) and theirs != ours):
            differing[f"Scala {rule(theirs)}, Python {rule(ours)}"] += 1
    return differing


@pytest.mark.parametrize("codec", Codec)
def test_damage_on_the_way_is_refused_alike(scala: Scala, codec: Codec) -> None:
    hurt, wires = (
        damage(np.random.default_rng(11)),
        [framed(codecs.encode(one, codec=codec), codec) for one in images(9)],
    )
    assert compared(scala, (hurt(wires[n % 9]) for n in range(TIMES))) == {}


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.PNG, Codec.TEXT])
def test_damage_before_sealing_is_refused_alike(scala: Scala, codec: Codec) -> None:
    hurt, wires = (
        damage(np.random.default_rng(12)),
        [framed(codecs.encode(one, codec=codec), codec) for one in images(9)],
    )
    bodies = [wire[HEADER_BYTES:-CHECK_BYTES] for wire in wires]
    assert compared(scala, (sealed(hurt(bodies[n % 9])) for n in range(TIMES))) == {}
    # The fields alone: most of a frame is its payload.
    assert compared(scala, (sealed(hurt(bodies[n % 9][:60]) + bodies[n % 9][60:]) for n in range(TIMES))) == {}


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.PNG, Codec.TEXT])
def test_a_damaged_payload_is_refused_or_read_alike(scala: Scala, codec: Codec) -> None:
    hurt, payloads = damage(np.random.default_rng(13)), [codecs.encode(one, codec=codec) for one in images(9)]
    assert compared(scala, (framed(hurt(payloads[n % 9]), codec) for n in range(TIMES))) == {}


def test_a_damaged_jpeg_is_nearly_always_refused_or_read_alike(scala: Scala) -> None:
    hurt, payloads = damage(np.random.default_rng(14)), [codecs.encode(one, codec=Codec.JPEG) for one in images(9)]
    differing = compared(scala, (framed(hurt(payloads[n % 9]), Codec.JPEG) for n in range(TIMES)))
    # A JPEG whose end is missing Java's reader cannot tell from one that lost pixels too; Pillow sometimes can.
    assert differing.total() <= TIMES // 50, differing


def test_noise_is_refused_alike(scala: Scala) -> None:
    dice = np.random.default_rng(15)
    noise = [dice.bytes(int(dice.integers(0, 300))) for _ in range(TIMES)]
    assert compared(scala, iter(noise)) == {}
    assert compared(scala, map(sealed, noise)) == {}


# --- whose frame it is ---------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "camera"), [*FIRST, (SEED, "a" * 64), (2**70, "-")])
def test_a_frame_is_the_same_tiers_in_both_languages(scala: Scala, seed: int, camera: str) -> None:
    numbers = [*range(300), *FAR]
    name = bytearray(camera.encode())
    theirs = [scala.java.edgewise.cluster.Split.isClusters(str(seed), name, number) for number in numbers]
    assert theirs == [split.owner(camera, number, seed=seed) is Tier.CLUSTER for number in numbers]


# --- pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [SIZE, ODD, (1, 1)])
def test_a_png_of_any_mode_has_the_same_pixels(scala: Scala, mode: str, size: Size) -> None:
    for image in images(4, size=size):
        picture = Image.fromarray(image)
        converted = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
        wire = framed(saved(converted, "PNG"), Codec.PNG, size=size)
        assert scala.verdict(wire, size=size) == python(wire, size=size)
        assert isinstance(python(wire, size=size), bytes)


@pytest.mark.parametrize("colours", [2, 4, 16])
def test_a_png_with_a_small_palette_has_the_same_pixels(scala: Scala, colours: int) -> None:
    for image in images(4):
        wire = framed(saved(Image.fromarray(image).quantize(colours), "PNG"), Codec.PNG)
        assert scala.verdict(wire) == python(wire)


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def packed(samples: NDArray[np.int64], depth: int) -> bytes:
    """Write samples row by row, each row behind the filter that does nothing."""
    bits = (samples[..., None] >> np.arange(depth)[::-1]) & 1
    return b"".join(b"\0" + np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits)


ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@pytest.mark.parametrize("size", [SIZE, (13, 11), (1, 1), (5, 1), (1, 7)])
@pytest.mark.parametrize("passes", [ADAM7, ((0, 0, 1, 1),)])
def test_a_png_of_any_depth_interlaced_or_not_has_the_same_pixels(
    scala: Scala, size: Size, passes: Sequence[tuple[int, int, int, int]]
) -> None:
    dice, (height, width) = np.random.default_rng(4), size
    for kind, channels, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)), (6, 4, (8, 16))):
        for depth in depths:
            samples = dice.integers(0, 1 << depth, (*size, channels))
            parts = [samples[top::down, left::right] for left, top, right, down in passes]
            pixels = b"".join(packed(part, depth) for part in parts if part.size)
            head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, kind, 0, 0, len(passes) > 1])
            palette = chunk(b"PLTE", dice.bytes(3 << depth)) if kind == 3 else b""
            image = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
            wire = framed(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + palette + image, Codec.PNG, size=size)
            assert scala.verdict(wire, size=size) == python(wire, size=size), (kind, depth)
            assert isinstance(python(wire, size=size), bytes)


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("quality", [40, 90, 100])
def test_a_jpeg_has_the_same_pixels(scala: Scala, quality: int, options: dict[str, int]) -> None:
    for image in images(4, size=ODD):
        wire = framed(saved(Image.fromarray(image), "JPEG", quality=quality, **options), Codec.JPEG, size=ODD)
        verdict = scala.verdict(wire, size=ODD)
        assert isinstance(verdict, bytes)
        assert verdict == python(wire, size=ODD)


def test_a_grey_jpeg_and_one_of_rgb_have_the_same_pixels(scala: Scala) -> None:
    for image in images(4):
        for payload in (
            saved(Image.fromarray(image).convert("L"), "JPEG"),
            saved(Image.fromarray(image), "JPEG", keep_rgb=True),
        ):
            assert scala.verdict(framed(payload, Codec.JPEG)) == python(framed(payload, Codec.JPEG))


def test_a_colour_profile_changes_no_pixel(scala: Scala) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind, codec in (("PNG", Codec.PNG), ("JPEG", Codec.JPEG)):
        wire = framed(saved(Image.fromarray(images(1)[0]), kind, icc_profile=profile), codec)
        assert scala.verdict(wire) == python(wire)


def test_a_jpeg_of_four_colours_is_refused_here_alone(scala: Scala) -> None:
    wire = framed(saved(Image.fromarray(images(1)[0]).convert("CMYK"), "JPEG"), Codec.JPEG)
    assert scala.verdict(wire) == "payload: jpeg: 4 channels"
    assert isinstance(python(wire), bytes)


def test_a_jpeg_without_tables_does_not_take_those_of_the_one_before(scala: Scala) -> None:
    whole = codecs.encode(images(1)[0], codec=Codec.JPEG)
    bare = re.sub(rb"(?s)\xff\xdb\x00\x43.{65}", b"", whole)
    assert len(bare) < len(whole)
    assert isinstance(scala.verdict(framed(whole, Codec.JPEG)), bytes)
    assert rule(scala.verdict(framed(bare, Codec.JPEG))) == Rule.PAYLOAD


def test_a_picture_of_another_size_is_refused_before_it_is_unpacked(scala: Scala) -> None:
    bomb = Image.new("RGB", (9000, 9000))
    for kind, codec in (("PNG", Codec.PNG), ("JPEG", Codec.JPEG)):
        payload = saved(bomb, kind) if codec is Codec.PNG else saved(bomb, kind, quality=1)
        if len(payload) > 900_000:
            payload = payload[:900_000]
        expected = f"dimensions: 9000 x 9000 in the payload, {SIZE[1]} x {SIZE[0]} in the frame"
        assert scala.verdict(framed(payload, codec)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{} ",
        " {}",
        "\t{}\r\n",
        "+{}",
        "0{}",
        "00_{}",
        "-{}",
        "_{}",
        "{}_",
        "{}__0",
        "{}.0",
        "0x{}",
        "{}\x00",
        "{}é",
        "{},",
    ],
)
@pytest.mark.parametrize("number", ["0", "7", "255", "256", "1_0", "9" * 4300, "0" * 4299, "0" * 4300])
def test_numbers_are_read_as_python_reads_them(scala: Scala, text: str, number: str) -> None:
    payload = ("1 2 " + text.format(number)).encode()
    wire = framed(payload, Codec.TEXT, size=(1, 1))
    verdict, expected = scala.verdict(wire, size=(1, 1)), python(wire, size=(1, 1))
    assert rule(verdict) == rule(expected)
    assert isinstance(expected, str) or verdict == expected


# --- results -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result",
    [
        RESULT,
        replace(RESULT, bridged_ns=None, appended_ns=1_763_000_000_126_000_000, score=1.0, run="日本", label=0),
        replace(RESULT, number=2**63 - 1, due_ns=-1, sent_ns=-(2**63), worker="w" * 3000, score=0.1),
    ],
)
def test_a_result_is_the_same_bytes(scala: Scala, result: Result) -> None:
    ours = scala.java.edgewise.cluster
    frame = Frame(**{name: getattr(result if hasattr(result, name) else FRAME, name) for name in Frame.__slots__})
    writer = ours.ResultWriter(result.engine, result.model, result.tasks, result.worker)
    encoded = writer.encode(
        ours.Frame.decode(bytearray(encode_frame(frame))),
        result.label,
        scala.java.java.lang.Float.valueOf(str(result.score)),
        *(None if value is None else long(scala, value) for value in (result.bridged_ns, result.appended_ns)),
        *(long(scala, value) for value in (result.received_ns, result.started_ns, result.inferred_ns)),
        result.size_bytes,
        result.batch,
    )
    assert result.tier is Tier.CLUSTER
    assert bytes(encoded) == encode_result(replace(result, score=float(np.float32(result.score))))


def long(scala: Scala, value: int) -> Any:  # noqa: ANN401 - a Java object
    return scala.java.java.lang.Long.valueOf(str(value))


def test_bigdl_says_why_it_cannot_be_loaded(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with started(f"-Djava.io.tmpdir={nowhere}") as running:
        for _ in range(2):
            problem = running.java.edgewise.cluster.ClassifyFrames.probe()
            assert problem == f"java.io.tmpdir is {nowhere}, where nothing can be written"
