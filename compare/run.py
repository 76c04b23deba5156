"""A comparison run: one, several to be compared, a sweep over settings, or a search for a load."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from compare import scenario as scenarios
from compare import tariff
from compare.reports import comparison, comparison_page, folder, report, series_page
from compare.reports.series_page import Series
from compare.runs import runfolder
from compare.runs.rounds import Runs, Surroundings
from compare.scenario import Kind, Scenario, order
from compare.searches import capacity, crossover, sweep
from edgewise import dataset, show
from edgewise.clock import SystemClock
from edgewise.errors import ConfigError, InvalidRunError
from edgewise.messages import Tier
from edgewise.parts import say
from edgewise.summary import Summary
from models import card
from models.engine import model_file


def run(scenario: Scenario, around: Surroundings) -> int:
    """Run it; print the report and, last, the run folder; give the exit code."""
    clock = SystemClock()
    card.known(model_file(scenario.model))
    for _, point in scenario.points:
        _refuse_cores(point)
        _ = point.fleet.schedule  # a trace that cannot be read is said before anything is started
        tariff.read(point.tariff)  # the same
    dataset.load("test", say=say)
    place = runfolder.make(around.runs, scenario.name, clock=clock)
    (place / "scenario.toml").write_text(scenarios.text(scenario))
    runs = Runs(place, around, clock=clock)
    with _beside_the_tiers(scenario):
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
        runs.measure_ceiling(scenario)
        summary = runs.alone(scenario, order(scenario)[0])
    report.show(summary)
    return summary.verdict


def _repeated(scenario: Scenario, runs: Runs) -> str:
    with runs.brokers():
        runs.measure_ceiling(scenario)
        compared = comparison.compared(scenario, runs.rounds(scenario))
    runfolder.keep(compared, runs.folder / comparison.NAME)
    comparison_page.write(runs.folder)
    show.table(comparison.rendered(compared))
    return compared.verdict


def _swept(scenario: Scenario, runs: Runs) -> str:
    with runs.brokers():
        runs.measure_ceiling(*(point for _, point in scenario.points))
        points = [
            sweep.Point(values=values, comparison=comparison.compared(point, runs.rounds(point)))
            for values, point in scenario.points
        ]
    return _shown(sweep.put_together(scenario.name, points), runs)


def _searched(scenario: Scenario, runs: Runs) -> str:
    with runs.brokers():
        generator = runs.measure_ceiling(scenario)

    def run_step(at: Scenario, tier: Tier) -> tuple[str, Summary]:
        with runs.brokers():  # its own: what a step leaves behind in topics and sessions is no other's
            return runs.next(at, (tier,))

    search = capacity.searched if scenario.search.kind is Kind.CAPACITY else crossover.searched
    return _shown(search(scenario, run_step, generator), runs)


def _shown(found: Series, runs: Runs) -> str:
    name = next(name for name, (kind, _) in folder.SERIES.items() if isinstance(found, kind))
    runfolder.keep(found, runs.folder / name)
    series_page.write(found, runs.folder)
    show.table(folder.laid_out(found))
    return found.verdict


@contextmanager
def _beside_the_tiers(scenario: Scenario) -> Iterator[None]:
    """Keep brokers, cameras, bridge and ledger off cores that the tiers have for themselves, if others are left."""
    allowed = os.sched_getaffinity(0)
    left = allowed - set(scenario.gateway.cores) - set(scenario.cluster.cores)
    os.sched_setaffinity(0, left or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _refuse_cores(scenario: Scenario) -> None:
    """Raise ConfigError for cores that this process may not use."""
    allowed = os.sched_getaffinity(0)
    for name, cores in (("gateway", scenario.gateway.cores), ("cluster", scenario.cluster.cores)):
        if missing := sorted(set(cores) - allowed):
            raise ConfigError(f"{name}.cores: there is no core {missing[0]} here; allowed are {sorted(allowed)}")
