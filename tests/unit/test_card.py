"""A model file and its card belong together, or are refused."""

import hashlib
from pathlib import Path

import pytest

from edgewise.errors import ConfigError
from models import card
from models.card import Card

MODEL = b"the model's bytes"
FACTS = {
    "name": "resnet20",
    "weights_sha256": "0123456789abcdef" * 4,
    "parameters": 272_474,
    "correct": 9147,
    "images": 10_000,
    "recipe": {"seed": 1},
    "epochs": [{"loss": 1.5}],
    "trained_with": {"keras": "3"},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "resnet20.keras"
    path.write_bytes(MODEL)
    return path


def refusal(model: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        card.read(model)
    return str(caught.value)


def test_a_card_is_read_as_it_was_written(model: Path) -> None:
    written = card.write(model, **FACTS)
    assert card.read(model) == written
    assert written.file_sha256 == hashlib.sha256(MODEL).hexdigest()


def test_a_card_stands_beside_its_model(model: Path) -> None:
    card.write(model, **FACTS)
    assert model.with_name("resnet20.card.json").exists()


def test_a_card_gives_the_identity_and_the_accuracy(model: Path) -> None:
    written = card.write(model, **FACTS)
    assert written.identity == "resnet20@0123456789ab"
    assert written.accuracy == 0.9147


def test_a_model_that_is_not_the_cards_is_refused_with_both_hashes(model: Path) -> None:
    card.write(model, **FACTS)
    model.write_bytes(b"another model")
    found, wanted = (hashlib.sha256(content).hexdigest()[:12] for content in (b"another model", MODEL))
    assert refusal(model) == (
        f"{model} is not the model of its card: SHA-256 {found} instead of {wanted}; "
        "restore it with: git checkout models/weights"
    )


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.keras"
    assert refusal(path) == f"no model at {path}; the shipped ones are in models/weights"


def test_a_missing_card_is_named(model: Path) -> None:
    assert str(card.card_path(model)) in refusal(model)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "resnet20"}', "\0\0"])
def test_a_damaged_card_is_named(model: Path, content: str) -> None:
    card.card_path(model).write_text(content)
    assert refusal(model).startswith(f"{card.card_path(model)} is no model card: ")


def test_a_card_with_a_field_that_nobody_knows_is_refused(model: Path) -> None:
    card.write(model, **FACTS)
    text = card.card_path(model).read_text()
    card.card_path(model).write_text(text.replace("{", '{"accuracy": 1.0, ', 1))
    assert "is no model card" in refusal(model)


def test_a_card_cannot_be_changed_once_read(model: Path) -> None:
    written = card.write(model, **FACTS)
    with pytest.raises(ValueError, match="frozen"):
        written.correct = 10_000
    assert Card.model_validate_json(written.model_dump_json()) == written
