"""Images as payloads: what comes back, and what is refused."""

import io
import struct
import zlib
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from edgewise import codecs
from edgewise.errors import FrameError
from edgewise.messages import Codec, Frame, Rule
from tests.fakes import FRAME

IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
LOSSLESS = st.sampled_from([Codec.RAW, Codec.TEXT, Codec.PNG])
PICTURES = [Codec.PNG, Codec.JPEG]
SMOOTH: Final = np.stack(np.meshgrid(range(0, 256, 8), range(0, 256, 8), [100, 120, 140]), axis=-1)[:, :, 0, :].astype(
    np.uint8
)
"""32 x 32 pixels without hard edges, as photographs mostly are."""


def framed(payload: bytes, codec: Codec, *, width: int = 32, height: int = 32) -> Frame:
    return replace(FRAME, payload=payload, codec=codec, width=width, height=height)


def there_and_back(image: NDArray[np.uint8], codec: Codec) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    return codecs.decode(framed(codecs.encode(image, codec=codec), codec, width=width, height=height))


def refusal(frame: Frame) -> FrameError:
    with pytest.raises(FrameError) as caught:
        codecs.decode(frame)
    return caught.value


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Build a PNG whose chunks say what they like, with genuine check sums."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in whole
    )


@given(IMAGES, LOSSLESS)
def test_raw_text_and_png_change_no_pixel(image: NDArray[np.uint8], codec: Codec) -> None:
    back = there_and_back(image, codec)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, image)


def test_jpeg_comes_close() -> None:
    back = there_and_back(SMOOTH, Codec.JPEG)
    assert back.shape == SMOOTH.shape
    assert np.abs(back.astype(int) - SMOOTH).mean() < 4


def test_raw_is_rgb_row_by_row_and_text_is_its_numbers() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert codecs.encode(image, codec=Codec.RAW) == bytes(range(12))
    assert codecs.encode(image, codec=Codec.TEXT) == b"0 1 2 3 4 5 6 7 8 9 10 11"


def test_an_image_that_is_a_slice_of_another_is_written_rightly() -> None:
    image = SMOOTH[::2, ::-1]
    np.testing.assert_array_equal(there_and_back(image, Codec.RAW), image)


def test_a_grey_png_becomes_rgb() -> None:
    out = io.BytesIO()
    Image.fromarray(SMOOTH[:, :, 0]).save(out, format="PNG")
    back = codecs.decode(framed(out.getvalue(), Codec.PNG))
    np.testing.assert_array_equal(back, np.repeat(SMOOTH[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.TEXT])
@pytest.mark.parametrize(("width", "height"), [(31, 32), (32, 33), (1, 1), (4000, 4000)])
def test_values_that_do_not_fill_the_stated_size_are_refused(codec: Codec, width: int, height: int) -> None:
    payload = codecs.encode(SMOOTH, codec=codec)
    error = refusal(framed(payload, codec, width=width, height=height))
    assert str(error) == f"dimensions: 3072 values in the payload, {width * height * 3} in {width} x {height} x 3"


@pytest.mark.parametrize("codec", PICTURES)
def test_a_picture_of_another_size_is_refused(codec: Codec) -> None:
    payload = codecs.encode(SMOOTH, codec=codec)
    error = refusal(framed(payload, codec, width=32, height=16))
    assert str(error) == "dimensions: 32 x 32 in the payload, 32 x 16 in the frame"


@pytest.mark.parametrize("codec", list(Codec))
def test_an_empty_payload_is_refused(codec: Codec) -> None:
    assert refusal(framed(b"", codec)).rule in {Rule.PAYLOAD, Rule.DIMENSIONS}


@pytest.mark.parametrize(
    "payload", [b"1 2 x", b"256 0 0", b"-1 0 0", b"1.5 2 3", b"1,2,3", b"9" * 5000, b"\xff\xfe", b"0x10 1 2"]
)
def test_text_that_is_not_numbers_from_0_to_255_is_refused(payload: bytes) -> None:
    assert refusal(framed(payload, Codec.TEXT, width=1, height=1)).rule == Rule.PAYLOAD


@pytest.mark.parametrize(("codec", "other"), [(Codec.PNG, Codec.JPEG), (Codec.JPEG, Codec.PNG)])
def test_a_picture_in_another_codec_than_stated_is_refused(codec: Codec, other: Codec) -> None:
    assert refusal(framed(codecs.encode(SMOOTH, codec=other), codec)).rule == Rule.PAYLOAD


@pytest.mark.parametrize("codec", PICTURES)
def test_a_picture_cut_off_in_the_middle_is_refused(codec: Codec) -> None:
    payload = codecs.encode(SMOOTH, codec=codec)
    for length in range(0, len(payload) // 2, 7):
        assert refusal(framed(payload[:length], codec)).rule == Rule.PAYLOAD


@given(st.sampled_from(list(Codec)), st.binary(max_size=200))
def test_noise_is_refused_by_a_rule(codec: Codec, noise: bytes) -> None:
    assert refusal(framed(noise, codec)).rule in {Rule.PAYLOAD, Rule.DIMENSIONS}


KINDS = st.sampled_from([b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"IDAT"])


@given(st.data())
def test_a_damaged_picture_is_read_or_refused_and_never_breaks_anything(data: st.DataObject) -> None:
    payload = bytearray(codecs.encode(SMOOTH, codec=Codec.JPEG))
    for _ in range(data.draw(st.integers(1, 5))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert codecs.decode(framed(bytes(payload), Codec.JPEG)).shape == (32, 32, 3)
    except FrameError as error:
        assert error.rule in {Rule.PAYLOAD, Rule.DIMENSIONS}  # noqa: PT017 - it may as well be legal


@given(st.lists(st.tuples(KINDS, st.binary(max_size=40)), max_size=4), st.sampled_from([0, 2, 3, 4, 6]))
@example([(b"acTL", b"\0" * 8)], 2)  # Pillow warns
@example([(b"IDAT", zlib.compress(bytes(80)))], 3)  # colours by number, and no table of colours
@example([(b"tRNS", b"\0"), (b"IDAT", zlib.compress(bytes(80)))], 3)
def test_a_png_of_strange_chunks_is_read_or_refused_and_never_breaks_anything(
    chunks: list[tuple[bytes, bytes]], colours: int
) -> None:
    payload = bytearray(png_of(8, 8, *chunks))
    payload[25] = colours
    payload[29:33] = struct.pack(">I", zlib.crc32(payload[12:29]))
    try:
        assert codecs.decode(framed(bytes(payload), Codec.PNG, width=8, height=8)).shape == (8, 8, 3)
    except FrameError as error:
        assert error.rule in {Rule.PAYLOAD, Rule.DIMENSIONS}  # noqa: PT017 - it may as well be legal


@pytest.mark.parametrize("side", [5_000, 10_000, 20_000, 60_000])
def test_a_small_payload_that_says_it_is_huge_is_refused_unopened(side: int) -> None:
    bomb = png_of(side, side, (b"IDAT", zlib.compress(bytes(100_000))))
    assert refusal(framed(bomb, Codec.PNG)).rule in {Rule.PAYLOAD, Rule.DIMENSIONS}
    assert refusal(framed(bomb, Codec.PNG, width=side, height=side)).rule == Rule.DIMENSIONS


def test_more_pixels_than_any_legal_payload_holds_are_refused_by_the_frame_alone() -> None:
    error = refusal(framed(b"", Codec.RAW, width=2**31 - 1, height=2**31 - 1))
    assert str(error) == "dimensions: 2147483647 x 2147483647 pixels, 16000000 allowed"


def test_a_text_chunk_that_unpacks_without_end_is_refused_or_passed_over() -> None:
    bomb = png_of(1, 1, (b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000))))
    assert refusal(framed(bomb, Codec.PNG, width=1, height=1)).rule == Rule.PAYLOAD
