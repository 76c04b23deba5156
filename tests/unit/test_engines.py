"""Engines: one model, the same answers, whatever runs it, and a word that helps when it cannot."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewise.errors import ConfigError, MissingError
from edgewise.places import CHECKOUT
from models import card, engine
from models.engine import NAMES, PINS, Engine, Labels, Scores, model_file
from models.exports import onnx

EXPORTED = ("onnx", "openvino")
IDENTITY = card.read(model_file("resnet20")).identity


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a cache of these tests' own, empty at first."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("cache")
        patch.setenv("EDGEWISE_CACHE", str(place))
        yield place


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
    return engine.load("keras", model="resnet20").classify(images)


@pytest.fixture(scope="module", params=EXPORTED)
def loaded(request: pytest.FixtureRequest) -> Engine:
    return engine.load(request.param, model="resnet20", threads=1)


def test_an_engine_says_what_it_is(loaded: Engine) -> None:
    assert loaded.name in EXPORTED
    assert (loaded.identity, loaded.shape) == (IDENTITY, (32, 32, 3))


def test_all_engines_give_the_same_answers(
    loaded: Engine, images: NDArray[np.uint8], expected: tuple[Labels, Scores]
) -> None:
    labels, scores = loaded.classify(images)
    assert [(one.dtype.name, one.shape) for one in (labels, scores)] == [("int64", (32,)), ("float32", (32,))]
    assert labels.tolist() == expected[0].tolist()
    np.testing.assert_allclose(scores, expected[1], atol=1e-4)


def test_the_size_of_a_batch_changes_no_answer(loaded: Engine, images: NDArray[np.uint8]) -> None:
    labels, scores = loaded.classify(images)
    for size in (*range(1, 10), 31, 3):
        again, chances = loaded.classify(images[:size])
        assert again.tolist() == labels[:size].tolist()
        np.testing.assert_allclose(chances, scores[:size], atol=1e-5)


def test_an_answer_stays_when_the_next_one_comes(loaded: Engine, images: NDArray[np.uint8]) -> None:
    labels, scores = loaded.classify(images)
    kept = labels.copy(), scores.copy()
    loaded.classify(images[::-1])
    assert (labels.tolist(), scores.tolist()) == (kept[0].tolist(), kept[1].tolist())


def test_images_may_lie_in_memory_in_any_way(loaded: Engine, images: NDArray[np.uint8]) -> None:
    labels = loaded.classify(images)[0].tolist()
    received = np.frombuffer(images.tobytes(), dtype=np.uint8).reshape(images.shape)  # may not be written to
    for same in (received, np.asfortranarray(images), np.repeat(images, 2, axis=0)[::2]):
        assert loaded.classify(same)[0].tolist() == labels


def test_all_cores_give_the_same_answers(loaded: Engine, images: NDArray[np.uint8]) -> None:
    everywhere = engine.load(loaded.name, model="resnet20")
    assert everywhere.classify(images)[0].tolist() == loaded.classify(images)[0].tolist()


def test_a_model_is_exported_once(folder: Path) -> None:
    place = onnx.file(model_file("resnet20"))
    assert place.parent == folder / "models"
    assert place.name.startswith(f"{IDENTITY.replace('@', '-')}-")
    assert place.name.endswith(f"-v{onnx.EXPORTER}.onnx")
    made = place.stat()
    assert onnx.file(model_file("resnet20")) == place
    assert (place.stat().st_ino, place.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert [one.name for one in place.parent.iterdir()] == [place.name]


def test_only_keras_loads_tensorflow() -> None:
    onnx.file(model_file("resnet20"))
    code = """if True:
        import sys
        from models import engine
        heavy = {"keras", "tensorflow", "onnx", "onnxruntime", "openvino"}
        seen = [heavy & sys.modules.keys()]
        for name in ("onnx", "openvino"):
            engine.load(name, model="resnet20", threads=1)
            seen.append(heavy & sys.modules.keys())
        print([sorted(each) for each in seen])
    """
    asked = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == str([[], ["onnxruntime"], ["onnxruntime", "openvino"]])


# --- what goes wrong -----------------------------------------------------------------------------


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        engine.load("torch", model="resnet20")
    assert str(refused.value) == f"--engine 'torch' is not known; there is: {', '.join(NAMES)}"


@pytest.mark.parametrize("name", ["keras", *EXPORTED])
def test_an_unknown_model_is_refused_by_every_engine(name: str) -> None:
    with pytest.raises(ConfigError, match="no model at "):
        engine.load(name, model="resnet99")


@pytest.mark.parametrize(
    ("name", "library"),
    [("keras", "keras"), ("keras", "tensorflow"), ("onnx", "onnxruntime"), ("openvino", "openvino")],
)
def test_a_missing_library_is_named(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
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
