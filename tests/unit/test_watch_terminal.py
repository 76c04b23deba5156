"""The watcher on the terminal: all of it where there is room, and nothing cut off in silence where there is not."""

from dataclasses import replace

import pytest
from rich.console import Console

from consumers.watch import terminal, view
from consumers.watch.look import Look, Verdict
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.messages import Tier
from tests.watching import START_NS, feed, frame, result

GATEWAY, CLUSTER = Tier.GATEWAY, Tier.CLUSTER


def looked() -> Look:
    """Give a look at both tiers, some seconds into a run."""
    clock = ManualClock(start_ns=START_NS)
    source = feed(clock)
    for number in range(50):
        source.add([frame("camera-0", number), result("camera-0", number, GATEWAY)])
        source.add([result("camera-0", number, CLUSTER, label=number % 5, late_ms=300)])
    for camera in range(1, 4):
        source.add([frame(f"camera-{camera}", 0), result(f"camera-{camera}", 0, GATEWAY)])
    clock.advance(by_ns=SECOND_NS)
    source.end_second(passed=0)
    return source.look()


def printed(look: Look, *, rows: int | None = None, columns: int = 110) -> str:
    console = Console(width=columns, height=rows, color_system=None, force_terminal=rows is not None)
    with console.capture() as captured:
        console.print(terminal.rendered(look, on=None if rows is None else console))
    return captured.get()


def test_the_terminal_says_it_all() -> None:
    text = printed(looked())
    assert "RUNNING" in text
    assert "4 cameras, 40 frames/s periodic, raw, 400 frames; watched for 1 s" in text
    assert "Same label from both tiers: 50.00 % of 50 frames." in text
    lines = [line.split() for line in text.splitlines()]
    assert ["gateway", "53", "53.0", "20.0", "n/a", "100.00", "0", "n/a", "0"] in lines
    assert ["cluster", "50", "50.0", "300.0", "n/a", "50.00", "3", "n/a", "0"] in lines
    assert ["camera-0", "20.0", "300.0", "73.44"] in lines
    assert ["sent", "n/a", "yet"] in lines
    assert ["confirmed", "by", "MQTT", "n/a", "yet"] in lines
    assert "No room" not in text


def test_before_any_run_the_terminal_says_what_it_waits_for() -> None:
    text = printed(view.nothing("", said="Waiting for the plan of a run.", notices=["Kafka does not answer."]))
    assert "WAITING" in text
    assert "! Kafka does not answer." in text


@pytest.mark.parametrize("columns", [50, 80, 110])
@pytest.mark.parametrize("rows", [6, 12, 16, 24, 30, 40, 60])
def test_a_terminal_shows_what_it_has_rows_for_and_names_the_rest(rows: int, columns: int) -> None:
    look = replace(looked(), notices=["No results from the cluster."])
    text = printed(look, rows=rows, columns=columns)
    assert len(text.splitlines()) <= rows - 1
    # The most important stands there in any case.
    assert "RUNNING" in text
    assert "! No results from the cluster" in text
    heads = {
        "the tiers": "rejected",
        "agreement": "Same label",
        "the way of the frames": "The way of the frames",
        "slowest cameras": "Slowest cameras",
        "over time": "Over time",
        "notes": "Counts begin with the watch",
    }
    words = " ".join(text.split())
    missing = {name for name, head in heads.items() if head not in words}
    said = words.partition(f"No room in {rows} rows for: ")[2].rstrip(".")
    assert missing <= set(said.split(", ")) if missing else not said
    if rows >= 24 and columns >= 80:
        assert not missing & {"the tiers", "agreement", "the way of the frames"}
    if rows == 60:
        assert not missing


def test_many_reasons_do_not_push_the_verdict_out() -> None:
    verdict = Verdict("INVALID", [f"rule {number}: 1 (limit 0); look" for number in range(40)], "runs/one", page=True)
    text = printed(replace(looked(), state="judged", verdict=verdict), rows=24, columns=80)
    assert len(text.splitlines()) <= 23
    assert "INVALID" in text
    assert "runs/one/report.html" in text
    assert "reasons" in text.splitlines()[-1] + text.splitlines()[-2]
