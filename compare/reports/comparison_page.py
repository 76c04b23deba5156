"""A comparison of several runs as one page for a browser: ``report.html`` in the comparison's folder.

Its numbers are those of ``comparison.json``. It needs nothing but itself; each run's own page
stands in that run's folder, and is linked from here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from markupsafe import Markup

from compare.reports import comparison, comparison_shown, page, plots
from compare.reports.comparison import Comparison, Figure
from compare.reports.grids import Grid
from compare.reports.plots import Words
from edgewise.show import NOT_MEASURED, cell

TEMPLATE: Final = "comparison.html.j2"


def write(folder: Path, out: Path | None = None) -> Path:
    """Write a comparison's page, whole or not at all; give its path.

    Raises:
        ConfigError: the folder is none of a comparison.
        MissingError: the disk does not take the page.
    """
    place = out or folder / page.NAME
    return page.put(rendered(comparison.read(folder), runs=links(folder, place)), place)


def links(folder: Path, place: Path) -> Mapping[str, str]:
    """Give where each run's page stands, as seen from the comparison's; of those that have one."""
    beside = place.resolve().parent == folder.resolve()
    found = sorted(folder.glob(f"*/{page.NAME}"))
    return {
        one.parent.name: f"{quote(one.parent.name)}/{page.NAME}" if beside else one.resolve().as_uri() for one in found
    }


def rendered(compared: Comparison, *, runs: Mapping[str, str]) -> str:
    """Lay a comparison out as HTML.

    Args:
        compared: what it came to.
        runs: where each run's own page stands, by the run's folder.
    """
    return page.template(TEMPLATE).render(
        compared=compared,
        reasons=[page.broken(one) for one in compared.reasons],
        answer=comparison.answer(compared),
        of_first=any(run.verdict == "INVALID" for run in compared.runs),
        figures=[
            (title(compared, figure), list(comparison_shown.rows(figure, comparison_shown.tiers_of(compared))))
            for figure in compared.figures
        ],
        notes=[*comparison_shown.window(compared), *([] if compared.no_winner else [comparison_shown.BETTER])],
        paired=paired(compared),
        pictures=list(pictures(compared)),
        links=runs,
    )


def paired(compared: Comparison) -> tuple[Grid, str] | None:
    """Give what the tiers made of the same frames, and how many these are."""
    found = compared.paired
    if found is None:
        return None
    rows = [(comparison_shown.written(one), *comparison_shown.cells_of(one.spread)) for one in found.figures]
    head = ("figure", *comparison_shown.COLUMNS)
    return Grid(comparison_shown.PAIRED, head, rows), comparison_shown.said(found)


def pictures(compared: Comparison) -> Iterator[tuple[str, Markup]]:
    """Draw each figure that was measured; give its title and its picture."""
    for number, figure in enumerate(compared.figures):
        tiers = {name: figure.tiers[name] for name in comparison_shown.tiers_of(compared) if name in figure.tiers}
        if tiers:
            words = Words(f"figure-{number}", title(compared, figure), _told(figure))
            yield words.title, plots.repeats(tiers, words, unit=figure.unit)


def title(compared: Comparison, figure: Figure) -> str:
    """Name a figure with its unit and what came out, as far as it may be said."""
    found = comparison.better(compared, figure)
    said = {"-": ": no difference shown", NOT_MEASURED: ""}.get(found, f": {found} better")
    return f"{comparison_shown.written(figure)}{said}"


def _told(figure: Figure) -> str:
    """Say a figure's runs in a sentence."""
    return " ".join(
        f"{tier}: median {cell(one.median, digits=2)} {figure.unit} of {len(one.values)} runs, "
        f"{cell(one.min, digits=2)} to {cell(one.max, digits=2)}."
        for tier, one in figure.tiers.items()
    )
