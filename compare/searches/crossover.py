"""Which tier is the better one for how many cameras: the share of answers that are right and on time decides."""

from collections.abc import Iterator
from typing import Final

from pydantic import Field
from rich.console import Group, RenderableType
from rich.text import Text

from compare.reports import report
from compare.runs import ceiling
from compare.runs.ran import UNFINISHED, ended_by
from compare.scenario import Scenario
from compare.searches import search
from compare.searches.pairs import OnTime, Pairs, Probe
from compare.searches.search import CONFIRMATIONS, REPEATS, CrossoverSearch
from compare.searches.steps import Asked, DisturbedError, Keep, Run, Searched, Step, titled_as
from edgewise.errors import EdgewiseError
from edgewise.messages import Tier
from edgewise.show import cell, grid, interval, percent, titled
from edgewise.summary import Generator, Reason

NEITHER: Final = "neither"
HEAD: Final = (
    *("better", "cameras", "offered/s", "runs each"),
    *(text for tier in Tier for text in (f"{tier} %", f"95 % of {tier}", f"{tier} p50 ms")),
)
NOTE: Final = (
    "Better only where the difference on the same frames is no chance (blocks of seconds, all probes together), and "
    "where all runs say so. Late, lost and wrong answers count alike."
)
USEFUL: Final = 0.5
"""Of the frames right and on time, in the better tier: with less neither is of use, and more cameras are not tried."""
NAME: Final = "crossover.json"


class Crossover(Searched):
    """A whole search: the content of ``crossover.json``."""

    before: Tier | None = None
    """The better tier with fewer cameras; None if neither is shown to be."""
    after: Tier | None = None
    """The better one from ``from_cameras`` on; None if it does not change within the range."""
    from_cameras: int | None = None
    """The fewest with which it is."""
    not_with_cameras: int | None = None
    """The most with which it is not; without a change, the most that were tried."""
    confirmed: bool | None = None
    """Whether repeats of what that stands on say the same; None of an older version, which did not repeat."""
    probes: list[Probe]
    """By the number of cameras; each with all its repeats."""
    disturbed: Step | None = None
    """The run that ended the search, if one did."""
    runs: list[str] = Field(default=[])
    """Folders of all runs in their order, those too that told nothing or did not count."""


def searched(scenario: Scenario, run: Run, asked: Asked, keep: Keep = lambda _: None) -> Crossover:
    """Search; whatever ends it, its probes are in what is given.

    Args:
        scenario: where to begin, and what to keep to.
        run: runs one tier at a load.
        asked: what a scenario asks of its cameras beside what they can send.
        keep: takes what is found so far, probe by probe.
    """
    whole = Crossover(
        schema=1,
        scenario=scenario.name,
        deadline_ms=scenario.deadline_ms,
        generator=asked(scenario),
        verdict="INVALID",
        reasons=[UNFINISHED],
        probes=[],
    )
    pairs, probes = Pairs(scenario, run), dict[int, Probe]()

    def better(cameras: int, *, repeats: int) -> Tier | None:
        probes[cameras] = pairs.probe(cameras, repeats=repeats)
        whole.probes, whole.runs = [probe for _, probe in sorted(probes.items())], pairs.folders
        keep(whole)
        return probes[cameras].better

    start = scenario.fleet.cameras
    try:
        found = CrossoverSearch(
            better,
            start=start,
            most=max(start, _most(scenario, asked, whole.generator)),
            within=scenario.search.within_share,
            useful=lambda cameras: probes[cameras].best_share >= USEFUL,
        ).run()
    except DisturbedError as error:
        whole.reasons, whole.disturbed = error.step.reasons, error.step
    except EdgewiseError as error:
        whole.reasons = [ended_by(error)]
    else:
        whole.reasons = list(_in_doubt(found))
        _note(whole, found)
    whole.verdict, whole.runs = "INVALID" if whole.reasons else "VALID", pairs.folders
    return whole


def _most(scenario: Scenario, asked: Asked, generator: Generator) -> int:
    """Say how many cameras are tried at most: so many as may be asked, by what few and by what that many can send."""
    each_hz = scenario.fleet.offered_hz / scenario.fleet.cameras
    most = min(round(scenario.search.most_times * scenario.fleet.cameras), int(ceiling.most_hz(generator) / each_hz))
    if most <= scenario.fleet.cameras:
        return most
    return min(most, int(ceiling.most_hz(asked(scenario.at({"fleet.cameras": most}))) / each_hz))


def _note(whole: Crossover, found: search.Crossover) -> None:
    whole.before, whole.after, whole.confirmed = found.before, found.after, found.confirmed
    whole.not_with_cameras = found.low
    whole.from_cameras = None if found.after is None else found.high


def _in_doubt(found: search.Crossover) -> Iterator[Reason]:
    """Say why what was found is no answer."""
    if not found.confirmed:
        yield Reason(
            rule="crossover not confirmed",
            found=f"{CONFIRMATIONS} times repeats told otherwise than the runs before them",
            limit=f"{REPEATS} repeats that say the same",
            next="the machine or the tiers are too uneven: search again in a quieter hour, or with longer runs",
        )


def said(found: Crossover) -> str:
    """Say the answer in a sentence."""
    within = f"for answers within {found.deadline_ms:g} ms"
    if found.reasons or not found.probes:
        return f"The search {within} did not come to an answer: {len(found.probes)} numbers of cameras were tried."
    first, last = found.probes[0], found.probes[-1]
    if found.after is None:
        return f"{_throughout(found, within)}: no crossover in that range{_useless(last)}."
    few = _named(first.better)
    if found.before is not None and first.better is None:
        begins = next(probe.cameras for probe in found.probes if probe.better is found.before)
        few += f", and with {begins:,} the {found.before} is the better one"
    after = f"from {found.from_cameras:,} on it is the {found.after}, and with {found.not_with_cameras:,} not yet"
    return f"With {first.cameras:,} cameras {few} {within}; {after}. Tried up to {last.cameras:,}{_useless(last)}."


def _throughout(found: Crossover, within: str) -> str:
    """Say who is better in a range in which that does not change."""
    first, last = found.probes[0], found.probes[-1]
    sure = max((one.cameras for one in found.probes if one.better is found.before), default=first.cameras)
    more = "" if sure == last.cameras else f"; with more, up to {last.cameras:,}, neither is shown to be"
    return f"From {first.cameras:,} to {sure:,} cameras {_named(found.before)} {within}{more}"


def _named(better: Tier | None) -> str:
    return "neither tier is shown to be better" if better is None else f"the {better} is the better tier"


def _useless(last: Probe) -> str:
    if last.best_share >= USEFUL:
        return ""
    return f", where neither answers {USEFUL * 100:.0f} % rightly in time"


def rendered(found: Crossover) -> RenderableType:
    """Lay a search out for the terminal: the verdict, the answer, and what it stands on."""
    head = report.verdict(found.verdict, titled_as(found.scenario, "crossover"))
    table = grid(HEAD[0], numbers=HEAD[1:])
    for row in rows(found):
        table.add_row(*row)
    titles = titled(f"Right within {found.deadline_ms:g} ms", table, NOTE)
    return Group(head, *report.reasons(found.reasons), Text(), Text(said(found)), *titles)


def rows(found: Crossover) -> Iterator[tuple[str, ...]]:
    """Give each probe, as written, by the number of cameras."""
    for probe in sorted(found.probes, key=lambda one: one.cameras):
        tiers = [probe.tiers[tier.value] for tier in Tier]
        cells = [text for one in tiers for text in (percent(one.share), _sure(one), cell(one.p50_ms))]
        runs = f"{len(tiers[0].folders)}"
        yield probe.better or NEITHER, f"{probe.cameras:,}", cell(probe.offered_hz), runs, *cells


def _sure(found: OnTime) -> str:
    return interval(found.interval, times=100)
