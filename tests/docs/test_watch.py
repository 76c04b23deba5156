"""The watcher's page in a real browser, with a thousand cameras; what it shows of a real run is in tests/contract."""

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, Route

from compare.reports import page as pages
from consumers.watch.feed import Feed
from edgewise.clock import SystemClock
from edgewise.messages import Tier
from edgewise.summary import Reason
from tests.browser import chromium
from tests.unit.test_curves import a_minute
from tests.unit.test_page import run_folder
from tests.unit.test_report import TWO
from tests.watching import RUN, closing, feed, frame, plan, result, served

CAMERAS: Final = 1000
REFRESH_MS: Final = 1000
"""What a refresh may take: a bound for use, generous enough for a busy machine, and no measurement."""
REFRESHES: Final = 3
Scheme = Literal["light", "dark"]
VIEWS: Final[tuple[tuple[int, Scheme], ...]] = ((1280, "light"), (390, "dark"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@contextmanager
def read(source: Feed) -> Iterator[None]:
    """Have Kafka read, in which nothing comes any more."""
    ended = threading.Event()

    def reading() -> None:
        while not ended.wait(0.1):
            source.add([])

    thread = threading.Thread(target=reading)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def source() -> Iterator[Feed]:
    """Give a thousand cameras with a few frames each, of which the cluster has some wrong and some not yet."""
    made = feed(SystemClock(), planned=plan(cameras=CAMERAS))
    for number in range(3):
        for camera in range(CAMERAS):
            name = f"camera-{camera}"
            made.add([frame(name, number), result(name, number, Tier.GATEWAY)])
            if camera % 7:
                label = 9 if camera % 11 == 0 else None
                made.add([result(name, number, Tier.CLUSTER, label=label, late_ms=300 + camera)])
        made.end_second(passed=0)
    with read(made):
        yield made


@pytest.fixture(scope="module")
def address(source: Feed) -> Iterator[str]:
    with served(source) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the page of a run whose verdict and report are there."""
    runs = tmp_path_factory.mktemp("runs")
    reason = Reason(rule="gateway missing", found=3, limit=0, unit="frames", next="see the gateway's log")
    summary = TWO.model_copy(update={"run": RUN, "verdict": "INVALID", "reasons": [reason]})
    pages.write(run_folder(runs / RUN, summary, a_minute()))
    made = feed(SystemClock(), runs=runs)
    made.add([found for n in range(3) for found in (frame("camera-0", n), result("camera-0", n, Tier.GATEWAY))])
    made.add_plans([closing()])
    made.end_second(passed=0)
    with read(made), served(made) as port:
        yield f"http://127.0.0.1:{port}/"


def opened(browser: Browser, address: str, *, width: int = 1280, scheme: Scheme = "light") -> Page:
    tab = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    tab.goto(address)
    tab.wait_for_selector(".tile dd.right")
    return tab


def assert_readable(tab: Page) -> None:
    """Nothing scrolls sideways, and axe finds nothing."""
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    found = Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(("width", "scheme"), VIEWS, ids=["desk", "telephone"])
def test_a_thousand_cameras_are_fluid_and_everybody_can_read_them(
    browser: Browser, address: str, width: int, scheme: Scheme
) -> None:
    tab = opened(browser, address, width=width, scheme=scheme)
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    # Each look is drawn well before the next one comes.
    took_ms = []
    for _ in range(REFRESHES):
        before = tab.get_attribute("body", "data-refreshes")
        tab.wait_for_function("before => document.body.dataset.refreshes !== before", arg=before)
        took_ms.append(float(tab.get_attribute("body", "data-refresh-ms") or "inf"))
    assert statistics.median(took_ms) < REFRESH_MS, took_ms
    assert tab.inner_text("#place") == "1 to 24 of 1,000"
    assert_readable(tab)
    assert said == []
    assert asked
    assert [url for url in asked if not url.startswith(address)] == []
    tab.context.close()


@pytest.mark.parametrize(("width", "scheme"), VIEWS, ids=["desk", "telephone"])
def test_the_verdict_can_be_read_and_leads_to_the_report(
    browser: Browser, judged: str, width: int, scheme: Scheme
) -> None:
    tab = opened(browser, judged, width=width, scheme=scheme)
    tab.wait_for_selector("#state:text-is('INVALID')")
    assert "gateway missing: 3 frames (limit 0 frames)" in tab.inner_text("#reasons").replace("3.0", "3").replace(
        "0.0", "0"
    )
    assert_readable(tab)
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.click("#report a")
    tab.wait_for_selector("h1 .verdict")
    assert tab.url == f"{judged}report"
    assert RUN in tab.inner_text(".run")
    # Its styles are its own, and allowed.
    assert tab.evaluate("document.styleSheets.length") > 0
    assert said == []
    tab.context.close()


def test_the_wall_is_walked_with_the_keyboard(browser: Browser, address: str) -> None:
    tab = opened(browser, address)
    tab.focus("#on")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("h3:text-is('camera-24')")
    assert tab.inner_text("#place") == "25 to 48 of 1,000"
    assert not tab.is_disabled("#back")
    # Right and wrong are told by shape and word too, not by colour alone.
    wrong = tab.locator(".tile", has=tab.locator("h3:text-is('camera-33')"))
    assert wrong.locator("dd.wrong").text_content() == "✗ truck, wrong"
    assert "✓" in (wrong.locator("dd.right").text_content() or "")
    waits = tab.locator(".tile", has=tab.locator("h3:text-is('camera-28')"))
    assert "✓" in (waits.locator("dd.right").text_content() or "")
    assert waits.locator("dd.silent, dd.open").count() == 1
    # Each tier's last answer has its own age: one of them does not hide that the other is gone.
    assert waits.locator("dd.age").count() == 2
    assert "none yet" in (waits.locator("dd.age").last.text_content() or "")
    tab.select_option("#order", "slowest")
    tab.wait_for_selector(".tile h3:text-is('camera-999')")
    tab.context.close()


def test_a_camera_is_found_on_the_map_with_mouse_and_keyboard(browser: Browser, address: str) -> None:
    tab = opened(browser, address)
    columns = tab.evaluate("Math.floor(document.getElementById('heat').clientWidth / 14)")
    place = 500
    tab.click("#heat", position={"x": place % columns * 14 + 5, "y": place // columns * 24 + 5})
    tab.wait_for_selector(".tile.chosen h3:text-is('camera-500')")
    assert "wrong" in (tab.get_attribute("#heat", "aria-label") or "")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowDown"):
        tab.keyboard.press(key)
    assert tab.inner_text("#heat-said").startswith(f"camera-{place + columns}: gateway right")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(f".tile.chosen h3:text-is('camera-{place + columns}')")
    tab.keyboard.press("End")
    tab.keyboard.press("ArrowRight")  # there is nothing after the last
    tab.keyboard.press(" ")
    tab.wait_for_selector(".tile.chosen h3:text-is('camera-999')")
    tab.keyboard.press("Home")
    assert tab.inner_text("#heat-said").startswith("camera-0: gateway right")
    # It is on the way of who goes from one thing to the next.
    tab.focus("#on")
    tab.keyboard.press("Shift+Tab")
    tab.focus("#on")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "heat"
    tab.context.close()


def test_what_is_said_to_be_shown_is_what_is_shown(browser: Browser, address: str) -> None:
    """An answer that is late is of the page before: it must not stand under the label of the next one."""
    tab = opened(browser, address)
    held: list[Route] = []
    tab.route("**/wall?*first=0&*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright asks a function for its frame
    with tab.expect_request("**/wall?*first=0&*"):  # the page asks once a second
        pass
    tab.click("#on")
    tab.wait_for_selector("h3:text-is('camera-24')")
    assert held
    for route in held:
        with suppress(Error):  # nobody waits for it any more
            route.fulfill(json=[{"camera": "late", "number": 0, "truth": "", "answers": [], "picture": None}])
    before = tab.get_attribute("body", "data-refreshes")
    tab.wait_for_function("before => document.body.dataset.refreshes !== before", arg=before)
    assert tab.inner_text("#place") == "25 to 48 of 1,000"
    assert tab.locator(".tile h3").first.inner_text() == "camera-24"
    assert tab.locator("h3:text-is('late')").count() == 0
    tab.context.close()


def test_a_link_with_the_token_leads_in_from_another_site_s_page(browser: Browser, source: Feed) -> None:
    with served(source, token="0123456789abcdef") as port:  # noqa: S106 - of no use elsewhere
        link = f'<a href="http://127.0.0.1:{port}/?token=0123456789abcdef">look'
        tab = browser.new_context().new_page()
        tab.route("http://chat.example/", lambda route: route.fulfill(content_type="text/html", body=link))
        tab.goto("http://chat.example/")
        tab.click("a")
        tab.wait_for_selector(".tile dd.right")
        assert tab.url == f"http://127.0.0.1:{port}/"
        tab.context.close()


def test_what_is_wrong_is_said_aloud_once(browser: Browser, address: str, source: Feed) -> None:
    tab = opened(browser, address)
    tab.wait_for_selector("#notices li:has-text('No results from the cluster for')", timeout=20_000)
    first = tab.inner_text("#notices")
    aloud = tab.text_content("#said")
    tab.wait_for_function("first => document.querySelector('#notices').innerText !== first", arg=first)
    assert tab.text_content("#said") == aloud, "seconds that pass are no news"
    assert source.look().notices
    tab.context.close()
