"""A run in pictures: SVG to stand inside a page, whose style sheet gives the colours.

Each picture has a title and a description for those who do not see it. It is narrow,
so that its letters can still be read on a telephone. Colours come in pairs that every
eye tells apart (Okabe and Ito), and dashes tell what colours tell.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from compare.reports.curves import Distribution, Series
from compare.reports.spread import Spread
from edgewise.show import cell
from edgewise.statistics import Floats

WIDTH, HEIGHT = 420, 280
"""Of a picture, in the page's pixels."""
PER_INCH: Final = 72
INK, GRID, GATEWAY, CLUSTER, OTHER = "#010101", "#020202", "#030303", "#040404", "#050505"
"""Stand for colours until the page gives them."""
VARIABLES: Final = {INK: "ink", GRID: "grid", GATEWAY: "gateway", CLUSTER: "cluster", OTHER: "other"}
COLOURS: Final = {"gateway": GATEWAY, "cluster": CLUSTER}
DASHES: Final = {"gateway": "-", "cluster": "--"}
DOTS: Final = {"gateway": "o", "cluster": "s"}
FLOOR_MS: Final = 0.01
"""A logarithmic axis has no place for 0: what was faster is drawn here."""
MOST_DOTS: Final = 120
"""Of a line; more would hide it."""
LOOKS: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgewise",
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True, slots=True)
class Words:
    """What a picture says to those who do not see it, and its name on the page."""

    name: str
    title: str
    description: str


@contextmanager
def _drawing(into: StringIO, *, height: float = HEIGHT, rows: int = 1) -> Iterator[list[Axes]]:
    """Give empty axes, one below the other; afterwards their picture stands in ``into``."""
    with mpl.rc_context(LOOKS):
        figure = Figure(figsize=(WIDTH / PER_INCH, height / PER_INCH), dpi=PER_INCH, layout="constrained")
        FigureCanvasSVG(figure)
        yield [figure.add_subplot(rows, 1, place + 1) for place in range(rows)]
        figure.savefig(into, format="svg", metadata={"Date": None})


def _inside(drawn: StringIO, words: Words) -> Markup:
    """Make a picture fit to stand in a page beside others: its own names, the page's colours and letters."""
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    for pattern in (r"<metadata>.*?</metadata>", r"<style[^>]*>.*?</style>", r"<!--.*?-->", r' id="[\w.]+_\d+"'):
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r'id="([^"]+)"', rf'id="{words.name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{words.name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{words.name}-\1"', svg)
    svg = re.sub(r"font: (\d+)(?:\.\d+)?px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    box = re.search(r'viewBox="[^"]+"', svg)
    labels = f'aria-labelledby="{words.name}-title {words.name}-description"'
    head = (
        f'<svg {box[0] if box else ""} role="img" {labels}>'
        f'<title id="{words.name}-title">{escape(words.title)}</title>'
        f'<desc id="{words.name}-description">{escape(words.description)}</desc>'
    )
    return Markup(head + svg[svg.index(">") + 1 :])  # noqa: S704 - matplotlib escapes its texts, and we ours


def _plain(value: float, _: object = None) -> str:
    """Write a number of an axis as people do."""
    return f"{value:,.10g}"


def _log_ms(axes: Axes, *, along: str, room: float) -> None:
    """Make an axis one of milliseconds, logarithmic; with few powers of ten there is room for 2 and 5 between them."""
    axis = axes.xaxis if along == "x" else axes.yaxis
    (axes.set_xscale if along == "x" else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    few = np.log10(high / low) < room
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes, *, columns: int = 2) -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def _above_floor(values: Floats) -> Floats:
    return np.maximum(values, FLOOR_MS)


def _ends_ms(tiers: Mapping[str, Distribution]) -> tuple[float, float]:
    """Say from where to where both pictures of a distribution reach."""
    known = _above_floor(np.concatenate([one.ms[[0, -1]] for one in tiers.values() if len(one.ms)] or [np.ones(1)]))
    return float(known.min()) / 1.3, float(known.max()) * 1.5


def latency_cdf(tiers: Mapping[str, Distribution], words: Words) -> Markup:
    """Draw what share of the frames was answered within a time; it ends below 100 % if frames are missing."""
    drawn = StringIO()
    with _drawing(drawn) as (axes,):
        start_ms, end_ms = _ends_ms(tiers)
        for name, one in tiers.items():
            # Up from 0; and beyond its slowest frame the curve goes on level: nothing more comes.
            share = np.concatenate([np.zeros(1), one.share, one.share[-1:]]) * 100
            across = np.concatenate([_above_floor(one.ms[:1]), _above_floor(one.ms), [end_ms]])
            if not len(one.ms):
                across, share = np.array([start_ms, end_ms]), np.zeros(2)
            label = f"{name}, {one.missing:,} missing" if one.missing else name
            style: dict[str, Any] = {"color": COLOURS[name], "linestyle": DASHES[name], "label": label}
            axes.step(across, share, where="post", **style)
            if one.missing:
                axes.plot([end_ms], share[-1:], "x", color=COLOURS[name], clip_on=False)
        axes.axhline(100, color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="latency, ms", ylabel="frames answered, %", ylim=(0, 103), xlim=(start_ms, end_ms))
        _log_ms(axes, along="x", room=2)
        _legend(axes)
    return _inside(drawn, words)


def latency_tail(tiers: Mapping[str, Distribution], words: Words) -> Markup:
    """Draw what share of the frames was still unanswered after a time: the slowest frames, drawn large."""
    drawn = StringIO()
    with _drawing(drawn) as (axes,):
        start_ms, end_ms = _ends_ms(tiers)
        for name, one in tiers.items():
            left = np.concatenate([np.ones(1), (1 - one.share), [one.missing / max(one.frames, 1)]]) * 100
            across = np.concatenate([[start_ms], _above_floor(one.ms), [end_ms]])
            # Without a missing frame nothing is left in the end, and a logarithmic axis has no place for that.
            seen = left > 1e-9  # noqa: PLR2004 - a share's rounding
            style: dict[str, Any] = {"color": COLOURS[name], "linestyle": DASHES[name], "label": name}
            axes.step(across[seen], left[seen], where="post", **style)
            if one.missing:
                axes.plot([end_ms], left[-1:], "x", color=COLOURS[name], clip_on=False)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="latency, ms", ylabel="frames not yet answered, %", xlim=(start_ms, end_ms))
        _log_ms(axes, along="x", room=2)
        _legend(axes)
    return _inside(drawn, words)


def rates(found: Series, words: Words, *, warm_up_s: float) -> Markup:
    """Draw frames offered and results seen a second."""
    drawn = StringIO()
    with _drawing(drawn) as (axes,):
        edges_s = np.append(found.start_s, found.start_s[-1] + found.period_s)
        for name, one in found.tiers.items():
            style: dict[str, Any] = {"color": COLOURS[name], "linestyle": DASHES[name], "label": name}
            axes.stairs(one.results_hz, edges_s, baseline=None, linewidth=1.8, **style)
        axes.stairs(found.offered_hz, edges_s, baseline=None, color=INK, linestyle=":", linewidth=1.8, label="offered")
        _from_start(axes, found, warm_up_s=warm_up_s)
        axes.set(ylabel="frames a second", ylim=(0, None))
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        _legend(axes, columns=3)
    return _inside(drawn, words)


def outstanding(found: Series, words: Words, *, warm_up_s: float) -> Markup:
    """Draw the frames that were due and not answered at each period's end."""
    drawn = StringIO()
    with _drawing(drawn) as (axes,):
        for name, one in found.tiers.items():
            ends_s = np.append(0, found.start_s + found.period_s)
            axes.plot(ends_s, np.append(0, one.outstanding), color=COLOURS[name], linestyle=DASHES[name], label=name)
        _from_start(axes, found, warm_up_s=warm_up_s)
        axes.set(ylabel="frames outstanding", ylim=(0, None))
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        _legend(axes)
    return _inside(drawn, words)


def latency_by_time(found: Series, words: Words, *, warm_up_s: float) -> Markup:
    """Draw percentiles of the latency of the frames due in each period; infinite ones as marks at the top."""
    drawn = StringIO()
    with _drawing(drawn) as (axes,):
        middle_s = found.start_s + found.period_s / 2
        dot = "." if len(middle_s) <= MOST_DOTS else ""
        for name, one in found.tiers.items():
            lines = [(one.p50_ms, "p50", 1.8)]
            if found.high is not None:
                lines.append((one.high_ms, f"p{found.high:g}", 0.8))
            for values, which, thick in lines:
                style: dict[str, Any] = {"color": COLOURS[name], "linestyle": DASHES[name], "linewidth": thick}
                finite = np.where(np.isfinite(values), _above_floor(values), np.nan)
                axes.plot(middle_s, finite, label=f"{name} {which}", marker=dot, markersize=3 * thick, **style)
                lost = np.isinf(values)
                axes.plot(
                    middle_s[lost],
                    np.ones(int(lost.sum())),
                    "^",
                    color=COLOURS[name],
                    transform=axes.get_xaxis_transform(),
                    clip_on=False,
                )
        _log_ms(axes, along="y", room=3.3)
        _from_start(axes, found, warm_up_s=warm_up_s)
        axes.set(ylabel="latency, ms")
        _legend(axes, columns=len(found.tiers))
    return _inside(drawn, words)


def _from_start(axes: Axes, found: Series, *, warm_up_s: float) -> None:
    if warm_up_s:
        axes.axvspan(0, warm_up_s, color=GRID, alpha=0.3, linewidth=0)
    end_s = float(found.start_s[-1]) + found.period_s
    axes.set(xlabel="seconds from the first frame due", xlim=(0, end_s))
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))


def waterfall(tiers: Mapping[str, Mapping[str, float | None]], words: Words) -> Markup:
    """Draw the median of each step where the one before it ends; each tier has a scale of its own."""
    drawn = StringIO()
    with _drawing(drawn, height=24 + 150 * len(tiers), rows=len(tiers)) as panels:
        for axes, (name, stages) in zip(panels, tiers.items(), strict=True):
            places = range(len(stages))
            lengths = np.array([value or 0.0 for value in stages.values()])
            starts = np.cumsum(lengths) - lengths
            axes.barh(places, lengths, left=starts, color=COLOURS[name], height=0.62)
            for place, value in enumerate(stages.values()):
                after = max(starts[place], starts[place] + lengths[place])
                axes.annotate(cell(value), (after, place), (4, 0), textcoords="offset points", va="center")
            axes.set_yticks(places, list(stages))
            axes.set_title(name, loc="left", fontsize=12, fontweight="bold")
            axes.margins(x=0.14)
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        panels[-1].set_xlabel("medians, one after the other, ms")
    return _inside(drawn, words)


def repeats(tiers: Mapping[str, Spread], words: Words, *, unit: str) -> Markup:
    """Draw a figure over the repeats: a dot for each run, a bar for the interval, a stroke for the median."""
    drawn = StringIO()
    with _drawing(drawn, height=70 + 46 * len(tiers)) as (axes,):
        for place, (name, one) in enumerate(tiers.items()):
            colour = COLOURS[name]
            axes.plot([one.min, one.max], [place, place], color=colour, linewidth=1)
            axes.plot([one.interval.low, one.interval.high], [place, place], color=colour, linewidth=9, alpha=0.35)
            axes.plot([one.median] * 2, [place - 0.2, place + 0.2], color=INK, linewidth=2.2)
            axes.plot(one.values, [place] * len(one.values), DOTS[name], color=colour, markersize=5, clip_on=False)
        axes.set_yticks(range(len(tiers)), list(tiers))
        axes.set(xlabel=unit, ylim=(len(tiers) - 0.5, -0.5))
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    return _inside(drawn, words)


@dataclass(frozen=True, slots=True)
class Loads:
    """One tier under several loads."""

    load: Floats
    value: Floats
    """Not finite where it was not measured, or is infinite."""
    held: Sequence[bool]
    """Whether the tier kept what it must; what it did not is drawn as a cross."""


def by_load(tiers: Mapping[str, Loads], words: Words, *, across: str, up: str, limit_ms: float | None = None) -> Markup:
    """Draw a figure over the load; with a limit it is a latency, and its axis logarithmic."""
    drawn = StringIO()
    with _drawing(drawn) as (axes,):
        for name, one in tiers.items():
            order = np.argsort(one.load, kind="stable")
            load, value, held = one.load[order], one.value[order], np.array(one.held, dtype=np.bool_)[order]
            colour = COLOURS[name]
            axes.plot(load, value, color=colour, linestyle=DASHES[name], linewidth=1, label=name)
            axes.plot(load[held], value[held], DOTS[name], color=colour, markersize=5)
            axes.plot(load[~held], value[~held], "x", color=colour, markersize=7, markeredgewidth=1.8)
        if limit_ms is not None:
            axes.axhline(limit_ms, color=INK, linewidth=1, linestyle=":", label="deadline")
        axes.set(xlabel=across, ylabel=up)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        if limit_ms is not None:
            _log_ms(axes, along="y", room=3.3)
        else:
            axes.set_ylim(0, None)
            axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        _legend(axes, columns=3)
    return _inside(drawn, words)


def by_setting(points: Mapping[str, Mapping[str, tuple[float | None, float | None]]], words: Words) -> Markup:
    """Draw each setting's p50 and p99 in each tier: a line between two dots, the second one empty."""
    drawn = StringIO()
    with _drawing(drawn, height=80 + 26 * len(points)) as (axes,):
        for place, tiers in enumerate(points.values()):
            for aside, (name, (p50_ms, p99_ms)) in enumerate(tiers.items()):
                at = place + 0.22 * (aside - (len(tiers) - 1) / 2)
                ends_ms = [np.nan if one is None else max(one, FLOOR_MS) for one in (p50_ms, p99_ms)]
                axes.plot(ends_ms, [at, at], color=COLOURS[name], linestyle=DASHES[name], linewidth=1)
                axes.plot(ends_ms[:1], [at], DOTS[name], color=COLOURS[name], label="" if place else f"{name} p50")
                hollow: dict[str, Any] = {"color": COLOURS[name], "markerfacecolor": "none"}
                axes.plot(ends_ms[1:], [at], DOTS[name], label="" if place else f"{name} p99", **hollow)
        axes.set_yticks(range(len(points)), list(points))
        axes.set(xlabel="latency, ms", ylim=(len(points) - 0.5, -0.5))
        axes.grid(visible=False, axis="y")
        _log_ms(axes, along="x", room=2)
        _legend(axes, columns=4)
    return _inside(drawn, words)
