"""The gate: which differences pass, what the card remembers, and when two tiers ran the same model."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import ConfigError
from models import card
from models.card import Check
from models.check import Reference, compared, record

TRUTH = np.arange(1000) % 10


def expected(*, undecided: int = 0) -> Reference:
    """Give a reference that is right everywhere; its first images are ties."""
    return Reference(TRUTH.copy(), np.full(1000, 0.9, np.float32), np.arange(1000) < undecided)


def answered(wrong: int, *, name: str = "onnx", undecided: int = 0) -> Check:
    """Check an engine that gives another label than the reference on its first images."""
    labels = TRUTH.copy()
    labels[:wrong] = (labels[:wrong] + 1) % 10
    scores = np.full(1000, 0.875, np.float32)
    return compared(name, (labels, scores), expected(undecided=undecided), truth=TRUTH, identity="net@1")


def test_the_same_answers_pass() -> None:
    found = answered(0)
    assert (found.passed, found.differ, found.correct, found.images) == (True, 0, 1000, 1000)
    assert found.apart == pytest.approx(0.025, abs=1e-6)


@pytest.mark.parametrize("name", ["keras", "onnx", "openvino", "litert", "bigdl"])
def test_float32_engines_may_differ_where_the_reference_cannot_decide_and_nowhere_else(name: str) -> None:
    tied = answered(3, name=name, undecided=3)
    assert (tied.passed, tied.differ, tied.beyond_ties) == (True, 3, 0)
    beyond = answered(4, name=name, undecided=3)
    assert (beyond.passed, beyond.beyond_ties, beyond.allowed, beyond.correct) == (False, 1, 0, 996)


@pytest.mark.parametrize("name", ["onnx-int8", "openvino-int8", "openvino-bf16", "litert-int8"])
def test_engines_of_fewer_bits_may_differ_on_one_image_in_two_hundred(name: str) -> None:
    assert answered(5, name=name).passed
    assert not answered(6, name=name).passed


def model_with_card(folder: Path, **facts: object) -> Path:
    model = folder / "net.keras"
    model.write_bytes(b"weights")
    card.write(
        model,
        name="net",
        weights_sha256="ab" * 32,
        parameters=3,
        correct=9,
        images=10,
        recipe={},
        epochs=[],
        trained_with={},
        **facts,
    )
    return model


def test_the_card_remembers_each_engine_s_newest_check(tmp_path: Path) -> None:
    model = model_with_card(tmp_path)
    assert record(model, [answered(1), answered(0, name="openvino")])
    assert record(model, [answered(0)])
    kept = card.read(model)
    assert {name: one.passed for name, one in kept.checks.items()} == {"onnx": True, "openvino": True}
    assert json.loads(card.card_path(model).read_text())["checks"]["onnx"]["differ"] == 0


def test_without_a_card_nothing_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"weights")
    assert not record(tmp_path / "net.onnx", [answered(0)])
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_card_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    model = model_with_card(tmp_path)
    path = card.card_path(model)
    whole = path.read_bytes()
    known = card.known(model)
    path.unlink()
    path.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card, "known", lambda _: known)
        with pytest.raises(ConfigError, match="cannot be written"):
            record(model, [answered(0)])
    path.rmdir()
    path.write_bytes(whole)


def test_an_engine_stands_for_a_model_once_it_has_passed_with_that_model(tmp_path: Path) -> None:
    model = model_with_card(tmp_path)
    identity = card.read(model).identity
    record(model, [answered(0).model_copy(update={"identity": identity}), answered(9, name="openvino")])
    described = card.read(model)
    assert described.same_as("keras", identity)
    assert described.same_as("onnx", identity)
    assert not described.same_as("openvino", identity), "it failed"
    assert not described.same_as("bigdl", identity), "never checked"
    assert not described.same_as("keras", "other@123")
    assert not described.same_as("onnx", "other@123")
