"""A watcher beside a real run: the page in a real browser, the terminal, and the run that does not notice."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from kafka.admin import KafkaAdminClient
from playwright.sync_api import Page

from edgewise import addresses, processes, topics
from edgewise.processes import Child
from tests.browser import chromium
from tests.real import eventually
from tests.system import RUN, System, running

pytestmark = pytest.mark.brokers

WITHIN_S: Final = 90.0
SHOWN_S: Final = 5.0
"""A gateway that was killed is missed on the page by then: by its own count, as this machine may be busy."""
RATE_HZ: Final = 40
FRAMES: Final = 300 * RATE_HZ
"""More than are sent before the fleet is asked to stop, however slow this machine is."""
FIRST_NOTICE: Final = """new MutationObserver(() => {
  const found = document.querySelector('#notices li');
  if (found && !window.firstNotice) window.firstNotice = found.textContent;
}).observe(document.querySelector('#notices'), { childList: true })"""
DRAWN: Final = """[...document.querySelectorAll('.tile canvas')]
  .every(canvas => canvas.getContext('2d').getImageData(9, 9, 1, 1).data[3])"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with running(tmp_path) as made:
        yield made


def watcher(system: System, *arguments: str, log: str) -> Child:
    command = [sys.executable, "-m", "edgewise", "watch", "--kafka", system.kafka.address, *arguments]
    child = processes.start(
        command, name="watch", log=system.folder / f"{log}.log", env=os.environ | {"COLUMNS": "110"}
    )
    system.children.append(child)
    return child


def server(system: System, port: int, *arguments: str, log: str) -> Child:
    own = ("--web", "--port", str(port), "--report", str(system.folder / "account"))
    child = watcher(system, *own, *arguments, log=log)
    eventually(lambda: f"http://127.0.0.1:{port}/" in child.log.read_text() or not child.running(), within_s=WITHIN_S)
    assert child.running(), child.tail(lines=30)
    return child


def gateway(system: System) -> Child:
    child = system.start("gateway", "--engine", "onnx", "--run", RUN)
    eventually(lambda: "classifying" in system.said(child) or not child.running(), within_s=WITHIN_S)
    assert child.running(), child.tail(lines=30)
    return child


def number_in(tab: Page, row: str) -> float:
    """Give the gateway's figure in a row of the table of tiers."""
    text = tab.locator(".tiers tr", has=tab.locator(f"th:text-is('{row}')")).locator("td").first.inner_text()
    return float(text.replace(",", "")) if text != "n/a" else float("nan")


@pytest.mark.timeout(400)
def test_a_run_is_seen_from_its_first_frame_to_its_verdict(system: System) -> None:
    port = addresses.free_port()
    page, told = (
        server(system, port, log="page"),
        watcher(system, "--run", RUN, "--report", str(system.folder / "account"), log="terminal"),
    )
    address, asked, said = f"http://127.0.0.1:{port}/", [], []
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(address)
        tab.wait_for_selector("#about:text('Waiting for the plan of a run.')")
        with topics.administration(system.kafka.address) as admin:
            assert not set(admin.list_topics()) & set(topics.plan()), "whoever only looks makes no topics"
        system.start("bridge", "--run", RUN)
        worker = gateway(system)
        fleet, ledger = system.fleet(frames=FRAMES, rate_hz=RATE_HZ), system.ledger()
        seen_moving(tab)
        checked = Axe().run(tab)
        assert checked.violations_count == 0, checked.generate_report()
        killed_and_missed(tab, worker)
        assert said == []
        # The page outlives its server: it says so meanwhile, and goes on by itself.
        page.kill()
        tab.wait_for_selector("#link[data-live=no]:has-text('Offline')", timeout=WITHIN_S * 1000)
        page = server(system, port, "--log", "json", log="page-again")
        tab.wait_for_selector("#link[data-live=yes]", timeout=WITHIN_S * 1000)
        # A browser writes down itself what it could not reach; the page writes nothing.
        assert [text for text in said if not text.startswith("Failed to load resource: net::ERR_")] == []
        gateway(system)
        tab.wait_for_selector("#notices", state="hidden", timeout=WITHIN_S * 1000)
        fleet.send(signal.SIGINT)
        eventually(lambda: not fleet.running() and not ledger.running(), within_s=WITHIN_S)
        tab.wait_for_selector("#state:text-is('VALID'), #state:text-is('INVALID')", timeout=WITHIN_S * 1000)
        assert tab.inner_text("#state") == system.summary().verdict
        assert "edgewise report" in tab.inner_text("#report")
        assert [url for url in asked if not url.startswith(address)] == []
    assert told.wait(within_s=WITHIN_S) == 0, "the terminal ends with the verdict of the run that was named"
    text = told.log.read_text()
    assert f"{system.summary().verdict}" in text
    assert re.search(r"^gateway +[\d,]+ ", text, flags=re.MULTILINE)
    assert_undisturbed(system)
    page.send(signal.SIGINT)
    assert page.wait(within_s=WITHIN_S) == 130
    assert "Traceback" not in page.log.read_text() + text
    # What the second server said can be read by programs.
    lines = [json.loads(line) for line in page.log.read_text().splitlines()]
    assert {line["part"] for line in lines} == {"watch"}
    assert f"http://127.0.0.1:{port}/" in [line["message"] for line in lines]


def seen_moving(tab: Page) -> None:
    """See numbers that grow, pictures and what the gateway says of them."""
    tab.wait_for_selector(".tile dd.right", timeout=WITHIN_S * 1000)
    tab.wait_for_function("() => document.querySelector('#state').textContent === 'Running'")
    answered = "document.querySelector('#way .gateway dd:last-child').textContent.replaceAll(',', '')"
    before = int(tab.evaluate(answered))
    tab.wait_for_function(f"before => Number({answered}) > before + {RATE_HZ}", arg=before)
    eventually(lambda: 0.5 * RATE_HZ < number_in(tab, "results/s") < 2 * RATE_HZ, within_s=WITHIN_S)
    eventually(lambda: number_in(tab, "p50 ms") > 0, within_s=WITHIN_S)
    assert 60 < number_in(tab, "accuracy %") <= 100
    assert tab.locator(".tile").count() == 4
    assert tab.evaluate(DRAWN)
    assert tab.locator("#charts svg .line-gateway").first.get_attribute("d")


def killed_and_missed(tab: Page, worker: Child) -> None:
    """Kill the gateway; the page says so in time."""
    tab.evaluate(FIRST_NOTICE)
    worker.kill()
    said = tab.wait_for_function("() => window.firstNotice", timeout=WITHIN_S * 1000).json_value()
    found = re.fullmatch(r"No results from the gateway for (\d+) s; [\d,]+ frames wait for it\.", said)
    assert found, said
    assert int(found[1]) <= SHOWN_S, said


def assert_undisturbed(system: System) -> None:
    """No group of Kafka's is the watcher's, and the ledger misses nothing."""
    with closing(KafkaAdminClient(bootstrap_servers=system.kafka.address)) as admin:
        assert admin.list_groups() == []
    assert system.summary().tiers["gateway"].missing == 0
