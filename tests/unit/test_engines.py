"""Engines: one model, the same answers, whatever runs it, and a word that helps when it cannot."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise import dataset
from edgewise.errors import ConfigError, MissingError
from edgewise.parts import say
from edgewise.places import CHECKOUT, cache
from models import card, engine
from models.engine import NAMES, PINS, Chances, Loaded, model_file
from models.exports import litert, onnx

EXACT: Final = ("onnx", "openvino", "litert")
APART: Final = dict.fromkeys(EXACT, 1e-4) | {
    "openvino-bf16": 0.04,
    "onnx-int8": 0.08,
    "openvino-int8": 0.08,
    "litert-int8": 0.13,
}
"""By engine: how far a probability may be from Keras'; twice what was measured where that is not rounding."""
IDENTITY = card.read(model_file("resnet20")).identity


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a cache of these tests' own, with nothing but the data set at first."""
    place = tmp_path_factory.mktemp("cache")
    dataset.load("train", say=say)
    for split in dataset.SPLITS:
        name = f"{dataset.NAME}-{split}.bin"
        (place / name).symlink_to((cache() / name).absolute())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWISE_CACHE", str(place))
        yield place


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.array(dataset.load("test", say=say).images[:64])


@pytest.fixture(scope="module")
def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def keras() -> Loaded:
    return engine.load("keras", model="resnet20")


@pytest.fixture(scope="module")
def expected(keras: Loaded, images: NDArray[np.uint8]) -> Chances:
    return keras.chances(images)


def load(name: str, *, threads: int = 0) -> Loaded:
    try:
        return engine.load(name, model="resnet20", threads=threads)
    except MissingError as missing:
        if "bfloat16" in str(missing):
            pytest.skip(str(missing))
        raise


@pytest.fixture(scope="module", params=APART)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return load(request.param, threads=1)


def test_every_engine_stands_here() -> None:
    assert {"keras", *APART} == set(NAMES)


def test_an_engine_says_what_it_is(loaded: Loaded) -> None:
    assert loaded.name in APART
    assert (loaded.shape, loaded.classes) == ((32, 32, 3), 10)
    if loaded.name.endswith("-int8"):  # another model, which names its parent
        assert re.fullmatch(r"resnet20-int8@[0-9a-f]{12}", loaded.identity)
    else:
        assert loaded.identity == IDENTITY


def test_all_engines_give_the_same_answers(loaded: Loaded, images: NDArray[np.uint8], expected: Chances) -> None:
    labels, scores = loaded.classify(images)
    assert [(one.dtype.name, one.shape) for one in (labels, scores)] == [("int64", (64,)), ("float32", (64,))]
    chances = loaded.chances(images)
    assert (labels.tolist(), scores.tolist()) == (chances.argmax(axis=1).tolist(), chances.max(axis=1).tolist())
    apart = APART[loaded.name]
    np.testing.assert_allclose(chances, expected, atol=apart)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-5)
    best = np.sort(expected, axis=1)
    sure = best[:, -1] - best[:, -2] > 2 * apart
    assert sure.sum() > 45
    assert labels[sure].tolist() == expected.argmax(axis=1)[sure].tolist()


@pytest.mark.parametrize("name", EXACT)
def test_float32_is_the_same_for_what_is_no_image_too(name: str, keras: Loaded, noise: NDArray[np.uint8]) -> None:
    np.testing.assert_allclose(load(name).chances(noise), keras.chances(noise), atol=1e-5)


def test_the_size_of_a_batch_changes_no_answer(loaded: Loaded, images: NDArray[np.uint8]) -> None:
    labels, scores = loaded.classify(images)
    for size in (*range(1, 10), 31, 3):
        again, chances = loaded.classify(images[:size])
        assert again.tolist() == labels[:size].tolist()
        np.testing.assert_allclose(chances, scores[:size], atol=1e-5)


def test_an_answer_stays_when_the_next_one_comes(loaded: Loaded, images: NDArray[np.uint8]) -> None:
    labels, scores = loaded.classify(images)
    kept = labels.copy(), scores.copy()
    loaded.classify(images[::-1])
    assert (labels.tolist(), scores.tolist()) == (kept[0].tolist(), kept[1].tolist())


def test_images_may_lie_in_memory_in_any_way(loaded: Loaded, images: NDArray[np.uint8]) -> None:
    labels = loaded.classify(images)[0].tolist()
    received = np.frombuffer(images.tobytes(), dtype=np.uint8).reshape(images.shape)  # may not be written to
    for same in (received, np.asfortranarray(images), np.repeat(images, 2, axis=0)[::2]):
        assert loaded.classify(same)[0].tolist() == labels


def test_all_cores_give_the_same_answers(loaded: Loaded, images: NDArray[np.uint8]) -> None:
    assert load(loaded.name).classify(images)[0].tolist() == loaded.classify(images)[0].tolist()


@pytest.mark.parametrize(("exports", "ending"), [(onnx, ".onnx"), (litert, ".tflite")])
def test_a_model_is_exported_once(exports: ModuleType, ending: str, folder: Path) -> None:
    model = model_file("resnet20")
    for int8 in (False, True):
        place = exports.file(model, int8=int8)
        assert place.parent == folder / "models"
        assert place.name.startswith(f"{IDENTITY.replace('@', '-')}-")
        assert place.suffix == ending
        made = place.stat()
        assert exports.file(model, int8=int8) == place
        assert (place.stat().st_ino, place.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert not [one.name for one in (folder / "models").iterdir() if one.suffix not in {".onnx", ".tflite"}]


@pytest.mark.parametrize("exports", [onnx, litert])
def test_int8_is_a_third_as_large(exports: ModuleType) -> None:
    small, large = (exports.file(model_file("resnet20"), int8=int8).stat().st_size for int8 in (True, False))
    assert small <= 0.35 * large


def test_an_onnx_file_becomes_int8_too(tmp_path: Path, images: NDArray[np.uint8], loaded: Loaded) -> None:
    if loaded.name not in {"onnx-int8", "openvino-int8"}:
        return
    given = tmp_path / "given.onnx"
    shutil.copy(onnx.file(model_file("resnet20")), given)
    own = engine.load(loaded.name, model=str(given), threads=1)
    np.testing.assert_allclose(own.chances(images), loaded.chances(images), atol=1e-5)
    again = onnx.file(given, int8=True)
    with pytest.raises(ConfigError, match="is quantised already"):
        engine.load(loaded.name, model=str(again))


def test_a_second_number_of_threads_in_one_process_is_refused(keras: Loaded, images: NDArray[np.uint8]) -> None:
    keras.classify(images[:1])  # TensorFlow has begun its work, with all threads
    with pytest.raises(ConfigError, match="--threads 1: TensorFlow has begun its work in this process"):
        engine.load("keras", model="resnet20", threads=1)


def test_only_keras_loads_tensorflow() -> None:
    for exports in (onnx, litert):
        exports.file(model_file("resnet20"))
        exports.file(model_file("resnet20"), int8=True)
    code = """if True:
        import sys
        from models import engine
        heavy = {"keras", "tensorflow", "onnx", "onnxruntime", "openvino", "ai_edge_litert"}
        seen = [heavy & sys.modules.keys()]
        for name in ("litert-int8", "onnx-int8", "openvino-int8"):
            engine.load(name, model="resnet20", threads=1)
            seen.append(heavy & sys.modules.keys())
        print([sorted(each) for each in seen])
    """
    asked = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    one, two, three = (
        ["ai_edge_litert"],
        ["ai_edge_litert", "onnxruntime"],
        ["ai_edge_litert", "onnxruntime", "openvino"],
    )
    assert asked.stdout.strip() == str([[], one, two, three])


# --- what goes wrong -----------------------------------------------------------------------------


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        engine.load("torch", model="resnet20")
    assert str(refused.value) == f"--engine 'torch' is not known; there is: {', '.join(NAMES)}"


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_model_is_refused_by_every_engine(name: str) -> None:
    with pytest.raises(ConfigError, match="no model at "):
        engine.load(name, model="resnet99")


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("keras", "keras"),
        ("keras", "tensorflow"),
        ("onnx", "onnxruntime"),
        ("openvino", "openvino"),
        ("litert", "ai_edge_litert"),
    ],
)
def test_a_missing_library_is_named(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"{library}.interpreter", raising=False)
    with pytest.raises(MissingError) as missing:
        engine.load(name, model="resnet20")
    assert str(missing.value) == (
        f"--engine {name} needs {library}, which is not installed; install it with: pip install {PINS[library]}"
    )


def test_a_library_that_only_the_export_needs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingError, match=f"--engine openvino needs onnx, .* pip install {PINS['onnx']}"):
        engine.load("openvino", model="resnet20")


def test_the_libraries_are_the_ones_that_set_up_installs() -> None:
    wanted = "\n".join(path.read_text() for path in sorted(CHECKOUT.glob("requirements*.txt")))
    for pin in PINS.values():
        assert re.search(rf"^{re.escape(pin)}$", wanted, flags=re.MULTILINE), pin


def test_a_model_that_cannot_be_exported_is_explained(tmp_path: Path) -> None:
    model = tmp_path / "odd.keras"
    model.write_bytes(b"no model")
    facts = card.read(model_file("resnet20")).model_dump(exclude={"file_sha256"})
    card.write(model, **facts | {"name": "odd"})
    with pytest.raises(ConfigError) as refused:
        engine.load("onnx", model=str(model))
    assert str(refused.value).startswith(f"Keras cannot read {model}: ")


DAMAGED = [
    *(("keras", ".keras", damage) for damage in ("empty", "cut", "other")),
    *((name, ".onnx", damage) for name in ("onnx", "openvino") for damage in ("empty", "cut", "other")),
    # Each converter starts a process of its own, with TensorFlow: one damage is enough.
    *((name, ".keras", "cut") for name in ("onnx", "litert")),
    ("onnx-int8", ".onnx", "other"),
]


@pytest.mark.parametrize(("name", "ending", "damage"), DAMAGED)
def test_a_damaged_file_is_explained_in_one_line(name: str, ending: str, damage: str, tmp_path: Path) -> None:
    whole = (model_file("resnet20") if ending == ".keras" else onnx.file(model_file("resnet20"))).read_bytes()
    model = tmp_path / f"mine{ending}"
    model.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "other": b"no model at all" * 100}[damage])
    with pytest.raises(ConfigError) as refused:
        engine.load(name, model=str(model))
    assert "mine" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["keras", "litert", "litert-int8"])
def test_a_library_that_takes_no_onnx_file_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match=r"take (.*, )?onnx or openvino"):
        engine.load(name, model=str(onnx.file(model_file("resnet20"))))
