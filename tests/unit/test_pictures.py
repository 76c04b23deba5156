"""A folder of pictures: what becomes of each file, whose class it has, and what the cache keeps."""

import csv
import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgewise import pictures
from edgewise.arrivals import unpacked
from edgewise.errors import ConfigError, MissingError
from edgewise.pictures import Pictures
from edgewise.pictures.picture import FILE_MAX_BYTES, BrokenError, squared
from edgewise.places import cache

Pixels = NDArray[np.uint8]
NOISE: Final[Pixels] = np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path / "cache"))


def written(picture: Image.Image, form: str = "PNG", **more: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **more)
    return out.getvalue()


def png(pixels: Pixels = NOISE) -> bytes:
    return written(Image.fromarray(pixels))


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def load(folder: Path) -> tuple[Pictures, list[str]]:
    said: list[str] = []
    return pictures.load(folder, say=said.append), said


def halves(first: tuple[int, int, int], second: tuple[int, int, int], *, wide: int = 64, high: int = 64) -> Image.Image:
    """Give a picture whose upper half has one colour, and whose lower has another."""
    whole = Image.new("RGB", (wide, high), first)
    whole.paste(second, (0, high // 2, wide, high))
    return whole


def about(found: Pixels, colour: Sequence[int], *, within: int = 6) -> bool:
    return bool((np.abs(found.astype(int) - np.array(colour)) <= within).all())


# --- one file -----------------------------------------------------------------------------------


def test_a_picture_of_the_size_stays_as_it_is() -> None:
    assert (squared(png()) == NOISE).all()


def test_the_largest_square_in_the_middle_is_what_is_left() -> None:
    wide = Image.new("RGB", (300, 100), RED)
    wide.paste(BLUE, (100, 0, 200, 100))
    assert about(squared(written(wide)), BLUE)


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((512, 512, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert about(squared(png(stripes)), (127, 127, 127), within=3)


@pytest.mark.parametrize(
    ("orientation", "quarters"), [(1, ("top", RED, BLUE)), (3, ("top", BLUE, RED)), (6, ("left", BLUE, RED))]
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_a_camera_that_was_held_otherwise_gives_an_upright_image(
    orientation: int, quarters: tuple[str, tuple[int, int, int], tuple[int, int, int]], form: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = squared(written(halves(RED, BLUE), form, exif=exif))
    side, first, second = quarters
    turned = found if side == "top" else found.transpose(1, 0, 2)
    assert about(turned[:12], first)
    assert about(turned[-12:], second)


def test_a_large_jpeg_keeps_its_colours_though_it_is_opened_smaller() -> None:
    found = squared(written(halves(RED, BLUE, wide=4000, high=3000), "JPEG", quality=95))
    assert about(found[:14], RED)
    assert about(found[-14:], BLUE)


def palette() -> bytes:
    return written(halves(RED, BLUE).convert("P", palette=Image.Palette.ADAPTIVE))


def clear_palette() -> bytes:
    whole = halves(RED, BLUE).convert("P", palette=Image.Palette.ADAPTIVE)
    return written(whole, transparency=whole.getpixel((0, 63)))


def half_clear() -> bytes:
    whole = halves(RED, BLUE).convert("RGBA")
    whole.paste((0, 0, 0, 0), (0, 32, 64, 64))
    return written(whole)


def grey_16() -> bytes:
    values = np.full((64, 64), 255 * 256, dtype=np.uint16)
    values[32:] = 100 * 256
    return written(Image.fromarray(values))


@pytest.mark.parametrize(
    ("content", "above", "below"),
    [
        (palette(), RED, BLUE),
        (clear_palette(), RED, WHITE),
        (half_clear(), RED, WHITE),
        (written(halves(WHITE, (0, 0, 0)).convert("1")), WHITE, (0, 0, 0)),
        (written(halves(WHITE, (90, 90, 90)).convert("L")), WHITE, (90, 90, 90)),
        (grey_16(), WHITE, (100, 100, 100)),
        (written(halves(RED, BLUE).convert("CMYK"), "TIFF"), RED, BLUE),
        (written(halves(RED, BLUE).convert("CMYK"), "JPEG", quality=95), RED, BLUE),
        (written(halves(RED, BLUE).convert("YCbCr"), "TIFF"), RED, BLUE),
        (written(halves(RED, BLUE), "GIF"), RED, BLUE),
        (written(halves(RED, BLUE), "WEBP", lossless=True), RED, BLUE),
        (written(halves(RED, BLUE), "BMP"), RED, BLUE),
    ],
    ids=[
        "palette",
        "clear palette",
        "alpha",
        "bits",
        "grey",
        "grey 16",
        "CMYK",
        "CMYK JPEG",
        "YCbCr",
        "GIF",
        "WEBP",
        "BMP",
    ],
)
def test_whatever_the_colours_are_kept_in_they_become_rgb(
    content: bytes, above: tuple[int, int, int], below: tuple[int, int, int]
) -> None:
    found = squared(content)
    assert found.shape == (32, 32, 3)
    assert about(found[:14], above)
    assert about(found[-14:], below)


def bomb() -> bytes:
    """Give a PNG that says it has 30,000 x 30,000 pixels, in a few bytes."""
    side = 30_000
    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    rows = zlib.compress(bytes(side // 8 + 1), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def large() -> bytes:
    return written(Image.new("1", (8000, 8000)))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no picture that can be read"),
        (b"no picture at all", "no picture that can be read"),
        (png()[:1000], "truncated"),
        (written(Image.fromarray(NOISE), "JPEG")[:-40], "truncated"),
        (bomb(), "exceeds limit"),
        (large(), "8,000 x 8,000 pixels, 40,000,000 allowed"),
        (written(Image.fromarray(np.zeros((40, 40), dtype=np.float32)), "TIFF"), "mode F: "),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "no picture that can be read"),
    ],
    ids=["empty", "text", "cut PNG", "cut JPEG", "bomb", "large", "floats", "a program"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_of_a_broken_file_it_is_said_what_is_wrong(content: bytes, why: str) -> None:
    with pytest.raises(BrokenError, match=why):
        squared(content)


# --- the folder ---------------------------------------------------------------------------------


def test_each_sub_folder_is_a_class_by_name_or_number(tmp_path: Path) -> None:
    others: Sequence[Pixels] = [NOISE, NOISE[::-1], NOISE[:, ::-1]]
    files = zip(("cat/b.png", "8/deep/a.png", "Truck/c.png"), map(png, others), strict=True)
    found, said = load(put(tmp_path / "my yard", dict(files)))
    split = found.split()
    assert split.labels.tolist() == unpacked(found.labels).tolist() == [8, 9, 3]
    assert [(one == image).all() for one, image in zip(split.images, (others[1], others[2], others[0]), strict=True)]
    assert (found.name, found.images, found.skipped) == ("my-yard", 3, 0)
    assert said == [f"--images {tmp_path / 'my yard'}: 3 pictures, 0 files skipped, SHA-256 {found.sha256[:12]}"]


def test_a_table_beside_the_pictures_says_their_classes(tmp_path: Path) -> None:
    rows = "taken,label,file\n1,cat,one.png\n2,9,night/two.png\n3,dog,gone.png\n"
    files = {"one.png": png(), "night/two.png": png(), "night/three.png": png(), "labels.csv": rows.encode()}
    found, said = load(put(tmp_path / "yard", files))
    assert found.split().labels.tolist() == [9, 3]
    assert found.skipped == 2
    assert [one.partition("yard: ")[2] for one in said[:2]] == [
        "gone.png is skipped: labels.csv names it, and it is not there",
        "night/three.png is skipped: labels.csv does not name it",
    ]


def test_broken_files_are_named_counted_and_skipped(tmp_path: Path) -> None:
    files = {f"cat/{number:02}.png": png()[: 100 * number] for number in range(14)}
    files |= {"dog/good.png": png(), "loose.png": png(), ".hidden/x.png": b"", "dog/.DS_Store": b""}
    folder = put(tmp_path / "yard", files)
    (folder / "dog" / "link").symlink_to(folder, target_is_directory=True)
    with (folder / "dog" / "film.png").open("wb") as film:
        film.truncate(FILE_MAX_BYTES + 1)
    found, said = load(folder)
    assert (found.images, found.skipped) == (1, 17)
    assert len(said) == pictures.SHOWN + 2
    assert "cat/00.png is skipped: no picture that can be read" in said[0]
    assert "cat/05.png is skipped: image file is truncated" in said[5]
    listed = Path(said[-2].rpartition(" ")[2])
    assert "7 more are skipped; all of them stand in" in said[-2]
    with listed.open(newline="") as file:
        whole = {row["file"]: row["why"] for row in csv.DictReader(file)}
    assert whole["dog/link"] == "it is no file"
    assert whole["dog/film.png"] == "100,000,001 bytes, 100,000,000 allowed"
    assert whole["loose.png"] == "it is in no sub-folder of a class"
    assert len(whole) == 17


def test_the_same_files_are_made_images_once(tmp_path: Path) -> None:
    folder = put(tmp_path / "yard", {"cat/1.png": png(), "dog/2.png": png()})
    first, _ = load(folder)
    kept = {path: path.stat().st_mtime_ns for path in cache().glob("pictures-*")}
    assert sorted(path.suffix for path in kept) == [".bin", ".json"]
    assert load(folder)[0] == first
    assert {path: path.stat().st_mtime_ns for path in cache().glob("pictures-*")} == kept
    (folder / "cat" / "1.png").write_bytes(png(NOISE[::-1]))
    changed, _ = load(folder)
    assert changed.sha256 != first.sha256
    assert (changed.split().images[0] == NOISE[::-1]).all()


def test_what_is_damaged_in_the_cache_is_made_again(tmp_path: Path) -> None:
    folder = put(tmp_path / "yard", {"cat/1.png": png()})
    found, _ = load(folder)
    (kept,) = cache().glob("pictures-*.bin")
    kept.write_bytes(bytes(len(kept.read_bytes())))
    with pytest.raises(MissingError, match=r"the pictures of yard have left the cache: .* is damaged: .*; start again"):
        found.split()
    assert load(folder)[0] == found
    assert (found.split().images[0] == NOISE).all()
    (told,) = cache().glob("pictures-*.json")
    for damaged in ("", "[]", "{}", '{"images": null, "sha256": "", "skipped": null}'):
        told.write_text(damaged)
        assert load(folder)[0] == found


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "cannot be read: .*yard: No such file or directory"),
        ({".hidden": b""}, "holds no pictures; give each class a sub-folder, or say the classes in labels.csv"),
        ({"labels.csv": b"file,label\n"}, "holds no pictures; "),
        ({"one.png": png()}, "no picture has a class; give each class a sub-folder, or say the classes in labels.csv"),
        ({"person/one.png": png()}, "its sub-folder 'person' is no class; a class is one of airplane, .*, or 0 to 9"),
        ({"10/one.png": png()}, "its sub-folder '10' is no class"),
        ({"cat/one.png": b"none"}, "no picture that can be read, of 1 files: cat/one.png: no picture that can be read"),
        ({"one.png": png(), "labels.csv": b"file\none.png\n"}, "labels.csv has no column label; its first line is"),
        ({"one.png": png(), "labels.csv": b""}, "labels.csv has no column file; its first line is file,label"),
        ({"one.png": png(), "labels.csv": b"file,label\none.png,kitten\n"}, "line 2: 'kitten' is no class; a class is"),
        ({"one.png": png(), "labels.csv": b"file,label\none.png\n"}, "line 2: '' is no class"),
        (
            {"a.png": png(), "labels.csv": b"file,label\na.png,1\n./a.png,2\n"},
            "line 3: a.png has another class further",
        ),
        ({"a.png": png(), "labels.csv": b"file,label\n\xff,1\n"}, "labels.csv cannot be read: "),
        ({"a.png": png(), "labels.csv": b"file,label\nb.png,1\n"}, "no picture has a class"),
    ],
)
def test_a_folder_that_cannot_be_sent_is_refused_in_one_line(
    tmp_path: Path, files: Mapping[str, bytes], problem: str
) -> None:
    folder = put(tmp_path / "yard", files)
    with pytest.raises(ConfigError, match=problem) as caught:
        load(folder)
    assert str(caught.value).startswith(f"--images {folder}")
    assert "\n" not in str(caught.value)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "yard").write_bytes(png())
    with pytest.raises(ConfigError, match=r"cannot be read: .*yard: Not a directory"):
        load(tmp_path / "yard")
