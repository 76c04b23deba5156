"""The pages of a run and of a comparison in a real browser: at a desk and on a telephone, light and dark."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.sync_api import Browser, Page

from compare.reports import comparison_page
from compare.reports import page as pages
from compare.reports.comparison import compared
from edgewise.summary import Summary
from tests.browser import chromium
from tests.unit.test_comparison import folder_of
from tests.unit.test_curves import a_minute
from tests.unit.test_page import INVALID, run_folder
from tests.unit.test_report import TWO
from tests.unit.test_tiers_paired import ALTERNATE, alternated

Scheme = Literal["light", "dark"]

DESK, TELEPHONE = 1280, 390
RUNS: Final[Mapping[str, Summary]] = {"VALID": TWO, "INVALID": INVALID}
SEVERAL: Final = "several"
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
NAMED: Final = (
    *("h1 .verdict", ".run", "h2", "p", ".note", "caption", "thead th", "td", "summary", ".matrix td.none"),
    "svg text",
)
"""Of all letters of a run's page, one each."""
COLOURS: Final = """names => {
  const shown = node => node && node.nodeName != 'HTML' ? [node, ...shown(node.parentElement)] : [];
  const solid = colour => colour != 'rgba(0, 0, 0, 0)' && !colour.startsWith('color(');
  return names.map(name => {
    const node = document.querySelector(name);
    const style = getComputedStyle(node);
    const behind = shown(node).map(one => getComputedStyle(one).backgroundColor).find(solid);
    return [name, node.namespaceURI.endsWith('svg') ? style.fill : style.color, behind];
  });
}"""
OUTSIDE: Final = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const own = text.getBoundingClientRect();
    return own.left < box.left - 8 || own.right > box.right + 8 || own.bottom > box.bottom + 4;
  }).map(text => text.textContent);
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Give the pages of a VALID and of an INVALID run, and of a comparison."""
    folder = tmp_path_factory.mktemp("runs")
    of_runs = {name: pages.write(run_folder(folder / name, summary, a_minute())) for name, summary in RUNS.items()}
    first, *others = alternated()
    several = folder_of(folder / "several", compared(ALTERNATE, [replace(first, folder="folder"), *others]))
    return of_runs | {SEVERAL: comparison_page.write(several)}


@pytest.fixture(params=[DESK, TELEPHONE], ids=["desk", "telephone"])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return "dark" if request.param == "dark" else "light"


@pytest.fixture(params=RUNS)
def verdict(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shown(browser: Browser, written: Mapping[str, Path], verdict: str, width: int, scheme: Scheme) -> Iterator[Page]:
    """Give the page, loaded; afterwards it must have complained of nothing and asked nobody for anything."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(written[verdict].as_uri())
    yield tab
    context.close()
    assert said == []
    assert asked == [written[verdict].as_uri()]


def brightness(colour: str) -> float:
    """Give a colour's relative luminance, as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((brightness(one), brightness(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_page_reads_well(shown: Page, verdict: str, width: int) -> None:
    # The verdict comes first, and an INVALID run's reason before any number.
    text = shown.inner_text("body")
    assert text.startswith(verdict)
    reason = "cluster died" if verdict == "INVALID" else "No rule was broken"
    assert text.index(reason) < text.index("The answer") < text.index("Latency from due to seen")
    # Headings go down one level at a time, from one h1.
    levels = shown.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper <= higher + 1 for higher, deeper in pairwise(levels))
    # Nothing but a wide table scrolls sideways, and it does so inside itself.
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    # What is written in a picture is inside it, and large enough to be read.
    assert shown.locator("svg").count() == 6
    assert shown.evaluate(OUTSIDE) == []
    heights = shown.evaluate(
        "[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= 9
    # Letters stand out from what is behind them.
    faint = {
        name: round(found, 2)
        for name, colour, behind in shown.evaluate(COLOURS, list(NAMED))
        if (found := contrast(colour, behind)) < 4.5
    }
    assert faint == {}


@pytest.mark.parametrize("scheme", ["light"])
@pytest.mark.parametrize("width", [TELEPHONE])
def test_who_does_not_see_the_page_is_told_the_same(shown: Page) -> None:
    told = shown.evaluate(
        """[...document.querySelectorAll('svg[role=img]')].map(svg => svg.getAttribute('aria-labelledby')
           .split(' ').map(id => document.getElementById(id).textContent))"""
    )
    assert len(told) == 6
    assert all(title and description for title, description in told)
    assert shown.locator("table:not(:has(caption))").count() == 0
    assert shown.locator("th:not([scope])").count() == 0
    # Whatever scrolls can be reached with the keyboard, and has a name.
    scrolling = shown.locator(".scroll")
    assert scrolling.count() == shown.locator(".scroll[tabindex='0'][role=region][aria-label]").count() > 5
    assert shown.locator("html[lang=en]").count() == 1


@pytest.mark.parametrize("verdict", ["VALID"])
@pytest.mark.parametrize("width", [DESK])
def test_the_scheme_changes_the_page_and_its_pictures(shown: Page, scheme: str) -> None:
    paper, ink, line = shown.evaluate(
        """[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('svg text')).fill,
            getComputedStyle(document.querySelector('svg g[clip-path] path, svg path[clip-path]')).stroke]"""
    )
    assert (brightness(paper) > 0.9, brightness(ink) < 0.1) == ((True, True) if scheme == "light" else (False, False))
    assert line.startswith("rgb")


@pytest.mark.parametrize("verdict", [SEVERAL])
def test_a_comparison_s_page_reads_well(shown: Page, width: int) -> None:
    text = shown.inner_text("body")
    assert text.startswith("VALID")
    assert text.index("No rule was broken") < text.index("The answer") < text.index("latency p50")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert text.index("The figures") < text.index("The same frames") < text.index("The runs")
    assert shown.locator("svg").count() == 5
    assert shown.evaluate(OUTSIDE) == []
    sizes = shown.evaluate("[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height)")
    assert min(sizes) >= 9
    assert shown.locator("th:not([scope])").count() == 0
    faint = [
        (name, colour)
        for name, colour, behind in shown.evaluate(COLOURS, [".verdict", "p", ".note", "td", "a", "svg text"])
        if contrast(colour, behind) < 4.5
    ]
    assert faint == []


def test_a_run_s_page_is_one_step_from_the_comparison_s(browser: Browser, written: Mapping[str, Path]) -> None:
    tab = browser.new_page()
    tab.goto(written[SEVERAL].as_uri())
    tab.locator("a").first.click()
    assert tab.inner_text("body") == "a run's page"
    tab.close()
