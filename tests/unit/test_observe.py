"""Prometheus' and Grafana's files: alerts that rise in their drills alone, and no query for what there is not."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from compare.runs.observing import Observing
from edgewise.metrics import METRICS, Metric
from edgewise.places import CHECKOUT
from tests.observing import DASHBOARD, FOLDER, PANELS

COMPOSED: Final[dict[str, Any]] = yaml.safe_load((CHECKOUT / "compose" / "observe.yaml").read_text())
RULES: Final[list[dict[str, Any]]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS: Final[list[dict[str, Any]]] = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
QUERIES: Final = [target["expr"] for panel in PANELS for target in panel["targets"]]
SCRAPED: Final[list[dict[str, Any]]] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
KNOWN: Final[dict[str, Metric]] = {
    f"{one.name}{suffix}": one
    for one in METRICS
    for suffix in (("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",))
}
SABOTAGE: Final = {
    "EdgewiseNothingArrives": ("[1m])) == 0", "[1m])) < 0"),
    "EdgewiseLagGrows": ("edgewise_lag_frames > 100", "edgewise_lag_frames > 1e9"),
    "EdgewiseWindowFull": (">= 0.95", ">= 1.95"),
    "EdgewiseRejects": ("rejected_total[5m])) > 0", "rejected_total[5m])) > 9"),
    "EdgewiseGeneratorLate": ("> 0.01 *", "> 1.01 *"),
    "EdgewiseGeneratorDrops": ("dropped_total[1m])) > 0", "dropped_total[1m])) > 1e9"),
    "EdgewisePartDown": ("up == 0 and on", "up == 2 and on"),
    "EdgewiseDiskNearlyFull": ("< 0.05 *", "< 0.0005 *"),
}
"""What makes each alert deaf: its drill must notice."""
TOO_EAGER: Final = {
    "EdgewiseGeneratorLate": ("> 0.01 *", "> 0.001 *"),
    "EdgewiseWindowFull": (">= 0.95", ">= 0.01"),
    "EdgewiseDiskNearlyFull": ("< 0.05 *", "< 0.5 *"),
    "EdgewisePartDown": ("unless on (job) up\n", "unless on (job, instance) up\n"),
    "EdgewiseRejects": ("rejected_total[5m])) > 0", "rejected_total[5m])) >= 0"),
    "EdgewiseGeneratorDrops": ("dropped_total[1m])) > 0", "dropped_total[1m])) >= 0"),
}
"""What makes some cry in a healthy run: its series must notice."""


def promtool(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is not installed; install it with: apt-get install prometheus")
    return subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def test_every_alert_rises_in_its_drill_and_none_in_a_healthy_run() -> None:
    found = promtool("test", "rules", "alerts.test.yml", cwd=FOLDER)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("changes", [SABOTAGE, TOO_EAGER], ids=["deaf", "too eager"])
def test_the_drills_notice_an_alert_that_is_wrong(changes: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    rules = (FOLDER / "alerts.yml").read_text()
    for right, wrong in changes.values():
        assert rules.count(right) == 1, right
        rules = rules.replace(right, wrong)
    (tmp_path / "alerts.yml").write_text(rules)
    shutil.copy(FOLDER / "alerts.test.yml", tmp_path)
    found = promtool("test", "rules", "alerts.test.yml", cwd=tmp_path)
    assert found.returncode != 0
    noticed = set(re.findall(r'alertname(?:: |=")(\w+)', found.stdout + found.stderr))
    assert noticed >= set(changes)


def test_every_alert_has_a_drill() -> None:
    names = {rule["alert"] for rule in RULES if "alert" in rule}
    raised = {case["alertname"] for one in TESTS for case in one.get("alert_rule_test", []) if case["exp_alerts"]}
    assert names == raised == set(SABOTAGE)


def test_prometheus_takes_its_settings(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(FOLDER / name, tmp_path)
    found = promtool("check", "config", "prometheus.yml", cwd=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("query", [*QUERIES, *(rule["expr"] for rule in RULES)])
def test_a_query_asks_for_metrics_and_labels_that_there_are(query: str) -> None:
    asked = re.findall(r"\b(edgewise_\w+|up)\b(?:\{([^}]*)\})?", query)
    assert asked
    for name, selector in asked:
        labels = {"job"} if name == "up" else {"part", *KNOWN[name].labels}
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            assert label in labels, (query, label)
            if label == "part":
                assert set(value.split("|")) <= set(KNOWN[name].parts), query


def test_every_panel_has_a_title_a_unit_a_place_of_its_own_and_says_what_it_shows() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }  # of 24 columns
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert all(panel["title"] and panel["description"] for panel in PANELS)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_an_axis_has_one_unit_and_it_is_the_metrics(panel: dict[str, Any]) -> None:
    def unit(query: str) -> str:
        durations = re.search(r"(?<!cpu)_seconds_(sum|bucket)", query)
        size, ratio = "_bytes" in query, "_bytes / " in query
        rate_of_size = "Bps" if "rate(" in query else "bytes"
        return "s" if durations else "percentunit" if ratio else rate_of_size if size else "none"

    assert {unit(target["expr"]) for target in panel["targets"]} == {panel["fieldConfig"]["defaults"]["unit"]}
    assert not any("1000" in target["expr"] for target in panel["targets"])


def test_the_edge_stands_left_of_the_cluster_line_by_line() -> None:
    beside = {panel["title"]: (panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS}
    same = ("latency from due to seen", "where the time goes", "what waits")
    pairs = [(f"Edge: {what}", f"Cluster: {what}") for what in same]
    pairs.append(("Edge: frames in a batch", "Cluster: frames in a micro-batch"))
    pairs.append(("Edge: time of a call of the engine", "Cluster: time of a micro-batch"))
    for edge, cluster in pairs:
        (left, above), (right, beneath) = beside[edge], beside[cluster]
        assert left < right
        assert above == beneath


def test_grafana_and_prometheus_are_pinned_wait_for_a_profile_and_are_open_to_this_machine_alone() -> None:
    for name in ("prometheus", "grafana"):
        service = COMPOSED["services"][name]
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
        assert service["profiles"] == ["observe"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for mount in service["volumes"]:
            source, target, *mode = mount.split(":")
            assert target.startswith("/")
            if source.startswith("./"):
                assert (CHECKOUT / "compose" / source).is_file()
                assert mode == ["ro"]
            else:
                assert source in COMPOSED["volumes"]


def test_what_is_scraped_is_what_listens() -> None:
    scraped = {one["job_name"]: one for one in SCRAPED}
    for name in ("fleet", "bridge", "gateway", "cluster", "ledger"):
        environment = COMPOSED["services"][name]["environment"]
        (place,) = scraped[name]["dns_sd_configs"]
        assert place["names"] == [name]
        assert str(place["port"]) == environment["EDGEWISE_METRICS_PORT"]
    assert set(scraped) == {"fleet", "bridge", "gateway", "cluster", "ledger", "prometheus"}
    (source,) = yaml.safe_load((FOLDER / "datasource.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}


def test_each_part_of_a_run_has_a_port_of_its_own_and_traces_are_for_cameras_and_ledger() -> None:
    off, on = Observing(), Observing(port=9470, trace_every=50)
    folder = Path("runs/first")
    assert [*off.options("fleet", folder), *off.options("ledger", folder), off.told()] == [""]
    assert list(on.options("fleet", folder)) == ["--metrics-port", "9470", "--trace-every", "50"]
    assert list(on.options("cluster", folder)) == ["--metrics-port", "9473"]
    assert list(on.options("ledger", folder)) == ["--metrics-port", "9474", "--trace-out", "runs/first/traces.jsonl"]
    assert on.told().startswith("fleet at 127.0.0.1:9470, bridge at 127.0.0.1:9471, ")
    assert {one["job_name"] for one in SCRAPED} == {"prometheus", *on.ports()}
