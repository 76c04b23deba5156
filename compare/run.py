"""A comparison run: one, several to be compared, a sweep over settings, or a search for a load."""

import os
from collections.abc import Callable
from functools import partial

from compare import scenario as scenarios
from compare import tariff
from compare.reports import comparison, comparison_page, comparison_shown, folder, report, series_page
from compare.reports.series_page import Series
from compare.runs import cores, runfolder
from compare.runs.ran import UNFINISHED, Ran, ended_by
from compare.runs.rounds import Runs, Surroundings
from compare.scenario import Kind, Scenario, order
from compare.searches import capacity, crossover, sweep
from edgewise import dataset, show
from edgewise.clock import SystemClock
from edgewise.errors import EdgewiseError, InvalidRunError
from edgewise.messages import Tier
from edgewise.parts import say
from models import card
from models.engine import model_file


def run(scenario: Scenario, around: Surroundings) -> int:
    """Run it; print the report and, last, the run folder; give the exit code."""
    clock = SystemClock()
    for _, point in scenario.points:
        for model in point.models:
            card.known(model_file(model))
        cores.refuse(point, os.sched_getaffinity(0))
        # What cannot be read is said before anything is started: pictures, a trace, prices.
        _ = point.fleet.pictures, point.fleet.schedule
        tariff.read(point.tariff)
    dataset.load("test", say=say)
    place = runfolder.make(around.runs, scenario.name, clock=clock)
    (place / "scenario.toml").write_text(scenarios.text(scenario))
    runs = Runs(place, around, clock=clock)
    if told := cores.said(scenario, os.sched_getaffinity(0)):
        say(told)
    if told := around.observing.told():
        say(f"a Prometheus may scrape: {told}")
    with cores.shared_out(scenario):
        if scenario.search.kind is not Kind.NONE:
            verdict = _searched(scenario, runs)
        elif scenario.sweep:
            verdict = _swept(scenario, runs)
        elif len(order(scenario)) > 1:
            verdict = _repeated(scenario, runs)
        else:
            verdict = _single(scenario, runs)
    say(runs.laps.told())
    show.text(str(place))  # a run's last line is its folder
    return 0 if verdict == "VALID" else InvalidRunError.exit_code


def _single(scenario: Scenario, runs: Runs) -> str:
    with runs.brokers():
        runs.refuse(scenario)
        summary = runs.alone(scenario, order(scenario)[0])
    report.show(summary)
    return summary.verdict


def _repeated(scenario: Scenario, runs: Runs) -> str:
    place = runs.folder / comparison.NAME
    with runs.brokers():
        runs.refuse(scenario)
        ran, error = _rounds(
            scenario, runs, lambda ran: runfolder.keep(comparison.compared(scenario, ran, ended=UNFINISHED), place)
        )
    if error and not ran:
        raise error
    compared = comparison.compared(scenario, ran, ended=ended_by(error) if error else None)
    runfolder.keep(compared, place)
    comparison_page.write(runs.folder)
    show.table(comparison_shown.rendered(compared))
    return compared.verdict


def _rounds(
    scenario: Scenario, runs: Runs, keep: Callable[[list[Ran]], None]
) -> tuple[list[Ran], EdgewiseError | None]:
    """Run all rounds of a scenario; give those that were run, and what ended them early.

    Args:
        scenario: what to run.
        runs: where.
        keep: takes the runs so far: should all be ended from outside, that is what is left of them.
    """
    ran: list[Ran] = []
    try:
        for tiers in order(scenario):
            ran.append(runs.next(scenario, tiers))
            keep(ran)
    except EdgewiseError as error:
        return ran, error
    return ran, None


def _swept(scenario: Scenario, runs: Runs) -> str:
    points: list[sweep.Point] = []
    error: EdgewiseError | None = None

    def keep(made: Callable[..., sweep.Point], ran: list[Ran]) -> None:
        unfinished = made(ran, ended=UNFINISHED)
        found = sweep.put_together(scenario.name, [*points, unfinished], ended=UNFINISHED)
        runfolder.keep(found, runs.folder / sweep.NAME)

    with runs.brokers():
        runs.refuse(*(point for _, point in scenario.points))
        for values, point in scenario.points:
            made = partial(sweep.point, values, point)
            ran, error = _rounds(point, runs, partial(keep, made))
            points.append(made(ran, ended=ended_by(error) if error else None))
            if error:
                break
    return _shown(sweep.put_together(scenario.name, points, ended=ended_by(error) if error else None), runs)


def _searched(scenario: Scenario, runs: Runs) -> str:
    runs.refuse(scenario)

    def run_step(at: Scenario, tier: Tier) -> Ran:
        runs.refuse(at)
        with runs.brokers():  # its own: what a step leaves behind in topics and sessions is no other's
            return runs.next(at, (tier,))

    name, search = (
        (capacity.NAME, capacity.searched)
        if scenario.search.kind is Kind.CAPACITY
        else (crossover.NAME, crossover.searched)
    )
    found = search(scenario, run_step, runs.generator, lambda so_far: runfolder.keep(so_far, runs.folder / name))
    return _shown(found, runs)


def _shown(found: Series, runs: Runs) -> str:
    name = next(name for name, (kind, _) in folder.SERIES.items() if isinstance(found, kind))
    runfolder.keep(found, runs.folder / name)
    series_page.write(found, runs.folder)
    show.table(folder.laid_out(found))
    return found.verdict
