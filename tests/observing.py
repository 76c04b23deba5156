"""A real Prometheus over real parts, and what our alerts and dashboard make of it."""

import json
import math
import shutil
import signal
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from edgewise import addresses, processes
from edgewise.places import CHECKOUT
from edgewise.processes import Child

FOLDER: Final = CHECKOUT / "compose" / "observe"
DASHBOARD: Final[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RATE_INTERVAL: Final = "10s"
"""In place of Grafana's: several times as long as from one scrape to the next."""
Series = tuple[dict[str, str], list[tuple[float, float]]]
"""Labels, and moments with their values."""


@dataclass
class Prometheus:
    """One that runs."""

    address: str
    child: Child
    folder: Path

    def asks(self, path: str, **words: str | float) -> Any:  # noqa: ANN401 - JSON
        """Ask its interface."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.loads(answer.read())["data"]

    def values(self, query: str) -> list[float]:
        """Give the finite values that a query has now."""
        found = [float(one["value"][1]) for one in self.asks("query", query=query)["result"]]
        return [value for value in found if math.isfinite(value)]

    def value(self, query: str) -> float:
        """Give the sum of them."""
        return sum(self.values(query))

    def ranged(self, query: str, *, from_s: float, to_s: float, step_s: float = 1) -> list[Series]:
        """Give the finite values that a query had meanwhile."""
        query = query.replace("$__rate_interval", RATE_INTERVAL)
        found = self.asks("query_range", query=query, start=from_s, end=to_s, step=step_s)["result"]
        each = [(one["metric"], [(at_s, float(value)) for at_s, value in one["values"]]) for one in found]
        finite = [
            (labels, [(at_s, value) for at_s, value in points if math.isfinite(value)]) for labels, points in each
        ]
        return [(labels, points) for labels, points in finite if points]

    def without_data(self, *, from_s: float, to_s: float) -> list[str]:
        """Name the panels and queries that had none all the while."""
        return [
            f"{panel['title']}: {target['expr']}"
            for panel in PANELS
            for target in panel["targets"]
            if not self.ranged(target["expr"], from_s=from_s, to_s=to_s)
        ]

    def alerts(self) -> dict[str, set[str]]:
        """Give what fires now, by alert: the parts or jobs it names."""
        found: dict[str, set[str]] = {}
        for one in self.asks("alerts")["alerts"]:
            labels = one["labels"]
            if one["state"] == "firing":
                found.setdefault(labels["alertname"], set()).add(labels.get("part") or labels.get("job") or "")
        return found

    def fired(self, *, from_s: float, to_s: float) -> set[str]:
        """Name the alerts that fired meanwhile."""
        found = self.ranged('ALERTS{alertstate="firing"}', from_s=from_s, to_s=to_s)
        return {labels["alertname"] for labels, _ in found}

    def rules(self, text: str) -> None:
        """Go by these rules from now on."""
        (self.folder / "alerts.yml").write_text(text)
        self.child.send(signal.SIGHUP)


@contextmanager
def prometheus(folder: Path, ports: Mapping[str, int], *, rules: str | None = None) -> Iterator[Prometheus]:
    """Run Debian's Prometheus by our settings, but for where the parts are and how often it looks."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.fail("prometheus is not installed; install it with: apt-get install prometheus")
    settings = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["scrape_configs"] = [
        {"job_name": one["job_name"], "static_configs": [{"targets": [f"127.0.0.1:{ports[one['job_name']]}"]}]}
        for one in settings["scrape_configs"]
        if one["job_name"] in ports
    ]
    assert len(settings["scrape_configs"]) == len(ports)
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (folder / "alerts.yml").write_text(rules or (FOLDER / "alerts.yml").read_text())
    address = f"127.0.0.1:{addresses.free_port()}"
    options = [f"--web.listen-address={address}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"]
    command = [program, f"--config.file={folder / 'prometheus.yml'}", *options]
    child = processes.start(command, name="prometheus", log=folder / "prometheus.log")
    try:
        yield Prometheus(address, child, folder)
    finally:
        child.kill()
