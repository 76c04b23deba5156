"""A look at a run, laid out for the terminal: the most important first, as much as there are rows for.

What has no room is named: nothing is cut off in silence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from consumers.watch.look import Look, Stage, TierLook
from consumers.watch.view import NOTES, WORST
from edgewise.show import NOT_MEASURED, cell, count, grid, percent, printable, titled

BARS: Final = " ▁▂▃▄▅▆▇█"
SPARKS_S: Final = (40, 15)
FUNNELS: Final = (40, 12)
"""Columns of a bar that is whole; as wide as there is room, like the lines of the last seconds."""
WIDEST: Final = 1000
WORST_FEW: Final = 2
STATES: Final = {
    "waiting": "WAITING",
    "planned": "STARTING",
    "running": "RUNNING",
    "ended": "SENT, the ledger has yet to judge",
}


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of the whole, in one or more forms, the longest first."""

    name: str
    forms: Sequence[RenderableType]


def rendered(look: Look, *, on: Console | None = None) -> RenderableType:
    """Lay out what has room on a terminal; all of it where there is none."""
    parts = list(_parts(look))
    if on is None or not on.is_terminal:
        return Group(*(part.forms[0] for part in parts))
    return Group(*_fitted(parts, on))


def _fitted(parts: Sequence[Part], on: Console) -> list[RenderableType]:
    """Give as many parts as there are rows for, one after the other, and say which are left out."""
    room = on.height - 1  # the cursor's
    shown: list[tuple[Part, RenderableType, int]] = []
    for part in parts:
        if (found := _chosen(part, on, room=room)) is not None:
            shown.append((part, *found))
            room -= found[1]
    # What is left out takes rows itself.
    while (left := _left_out(parts, [part for part, _, _ in shown], on)) and _rows(left, on) > room and len(shown) > 1:
        room += shown.pop()[2]
    return [*(form for _, form, _ in shown), *([left] if left else [])]


def _left_out(parts: Sequence[Part], shown: Sequence[Part], on: Console) -> Text:
    names = dict.fromkeys(part.name for part in parts if part not in shown)
    return Text(f"No room in {on.height} rows for: {', '.join(names)}." if names else "", style="dim")


def _chosen(part: Part, on: Console, *, room: int) -> tuple[RenderableType, int] | None:
    """Give a part's longest form that has room, and its rows: one that needs no wider terminal, if there is one."""
    anything, wide = on.options.update(width=WIDEST), []
    for form in part.forms:
        if Measurement.get(on, anything, form).maximum > on.width:
            wide.append(form)
        elif (rows := _rows(form, on)) <= room:
            return form, rows
    if len(wide) < len(part.forms):
        return None
    return next(((form, rows) for form in wide if (rows := _rows(form, on)) <= room), None)


def _rows(content: RenderableType, on: Console) -> int:
    return len(on.render_lines(content, on.options.update(height=None), pad=False))


def _parts(look: Look) -> Iterator[Part]:
    """Give all of it, the most important first."""
    yield Part("the run", [_state(look)])
    for notice in look.notices:
        yield Part("what is wrong", [Text(f"! {notice}", style="bold red")])
    yield Part("the plan", [_plan(look)])
    if look.verdict is not None:
        yield Part("the report's place", [Text(_report(look.verdict.folder, page=look.verdict.page))])
        for reason in look.verdict.reasons:
            yield Part("reasons", [Text(reason)])
    for remark in look.remarks:
        yield Part("what to know about the figures", [Text(remark, style="dim")])
    if look.tiers:
        yield Part("the tiers", [Group(Text(), _tiers(look.tiers)), Group(Text(), _narrow_tiers(look.tiers))])
    if look.paired.frames:
        same = look.paired.same / look.paired.frames
        yield Part(
            "agreement", [Text(f"Same label from both tiers: {percent(same)} % of {look.paired.frames:,} frames.")]
        )
    if look.stages:
        bars = [Group(*titled("The way of the frames", _funnel(look.stages, wide=wide))) for wide in FUNNELS]
        yield Part("the way of the frames", bars)
    if look.worst:
        tables = [Group(*titled("Slowest cameras, median ms", _worst(look, most=most))) for most in (WORST, WORST_FEW)]
        yield Part("slowest cameras", tables)
    if look.points and look.tiers:
        lines = [
            Group(*titled("Over time", _lines(look, seconds=seconds, latency=latency)))
            for seconds in SPARKS_S
            for latency in (True, False)
        ]
        yield Part("over time", lines)
    yield Part("notes", [Group(Text(), Text(NOTES, style="dim"))])


def _state(look: Look) -> Text:
    head = Text()
    if look.verdict is None:
        head.append(f" {STATES[look.state]} ", style="bold reverse")
    else:
        good = look.verdict.verdict == "VALID"
        head.append(f" {look.verdict.verdict} ", style="bold white on green" if good else "bold white on red")
    if look.run:
        head.append(f"  run {printable(look.run)}", style="bold")
    return head


def _plan(look: Look) -> Text:
    watched = f"; watched for {look.watched_s:,.0f} s" if look.watched_s else ""
    return Text(look.about).append(watched, style="dim")


def _report(folder: str, *, page: bool) -> str:
    return f"{folder}/report.html" if page else f"edgewise report {folder}"


def _funnel(stages: Sequence[Stage], *, wide: int) -> Table:
    table = grid("step", "of those planned", numbers=("frames",))
    table.show_header = False
    for stage in stages:
        bar = "━" * round(wide * (stage.share or 0))
        frames = f"{NOT_MEASURED} yet" if stage.frames is None else count(stage.frames)
        table.add_row(stage.name, Text(bar, style="cyan"), frames)
    return table


def _figures(tier: TierLook) -> dict[str, str]:
    return {
        "results": count(tier.results),
        "/s": cell(tier.rate_hz),
        "p50 ms": cell(tier.p50_ms),
        "p99 ms": cell(tier.p99_ms),
        "right %": percent(tier.right / tier.judged if tier.judged else None),
        "waiting": count(tier.waiting),
        "lag": count(tier.lag),
        "rejected": count(tier.rejected),
    }


def _tiers(tiers: Sequence[TierLook]) -> Table:
    table = grid("tier", numbers=tuple(_figures(tiers[0])))
    for tier in tiers:
        table.add_row(tier.name, *_figures(tier).values())
    return table


def _narrow_tiers(tiers: Sequence[TierLook]) -> Table:
    table = grid("tier", numbers=tuple(tier.name for tier in tiers))
    for name in _figures(tiers[0]):
        table.add_row(name, *(_figures(tier)[name] for tier in tiers))
    return table


def _lines(look: Look, *, seconds: int, latency: bool) -> Table:
    """Draw the last seconds, a line for each figure, beside what it is now and its highest."""
    last, tiers = look.points[-seconds:], [tier.name for tier in look.tiers]
    drawn: dict[str, list[float | None]] = {"frames/s": [point.frames_hz for point in last]}
    drawn |= {f"{tier} results/s": [point.rates_hz.get(tier) for point in last] for tier in tiers}
    if latency:
        drawn |= {f"{tier} p50 ms": [point.p50_ms.get(tier) for point in last] for tier in tiers}
    table = grid("figure", f"the last {seconds} s", numbers=("now", "highest"))
    for name, values in drawn.items():
        most = max((value for value in values if value is not None), default=None)
        table.add_row(name, _spark(values, most or 0.0).rjust(seconds), cell(values[-1]), cell(most))
    return table


def _spark(values: Sequence[float | None], most: float) -> str:
    """Draw one letter a second, from nothing to the highest of them."""
    steps = len(BARS) - 1
    return "".join(" " if not value or not most else BARS[max(1, round(value / most * steps))] for value in values)


def _worst(look: Look, *, most: int) -> Table:
    tiers = [tier.name for tier in look.tiers]
    table = grid("camera", numbers=(*tiers, "right %"))
    for one in look.worst[:most]:
        right = one.right / one.judged if one.judged else None
        table.add_row(one.camera, *(cell(one.medians_ms.get(tier)) for tier in tiers), percent(right))
    return table
