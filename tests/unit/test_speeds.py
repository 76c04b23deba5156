"""Engines side by side: what is asked, in which order, and how it is shown."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest
from rich.console import Console

from compare.engines import speeds, speeds_shown, timed
from compare.engines.speeds import Measured, Speed, Speeds, SpeedSettings
from compare.runs.machine import Machine
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.errors import ConfigError
from models import engine


def asked(**changes: object) -> SpeedSettings:
    usual = {"model": "resnet20", "engines": "", "batches": "1,8", "cores": "1"}
    return speeds.asked(**(usual | changes))  # type: ignore[arg-type]  # several kinds of values


def test_without_names_it_is_every_engine_on_one_and_two_cores() -> None:
    found = asked(cores="")
    assert found.engines == tuple(engine.NAMES)
    assert found.cores == tuple(number for number in (1, 2) if number <= engine.cores())


def test_a_number_said_twice_counts_once() -> None:
    assert asked(batches="8,1,8").batches == (8, 1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"engines": "onnx,coral"}, r"--engines 'coral' is not known; there is: keras, .*"),
        ({"batches": "1,x"}, "--batches '1,x' is not whole numbers from 1 up, with commas between them"),
        ({"batches": ""}, "--batches '' is not whole numbers .*"),
        ({"batches": "8,0"}, "--batches '8,0' is not whole numbers .*"),
        ({"batches": "8,200", "images": 100}, "--batches 200 is more than the 100 images there are"),
        ({"cores": "-1"}, "--cores '-1' is not whole numbers .*"),
        ({"cores": "1,9999"}, r"--cores 9999 is more than the \d+ that this process may use"),
        ({"model": "nothing"}, "no model at .*nothing.keras; .*"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=f"^{why}$"):
        asked(**changes)


def test_each_round_goes_back_the_way_that_the_last_one_came() -> None:
    forth = speeds.order(["a", "b"], [1, 2], round_number=0)
    assert forth == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert speeds.order(["a", "b"], [1, 2], round_number=1) == forth[::-1]
    assert speeds.order(["a", "b"], [1, 2], round_number=2) == forth


@pytest.mark.parametrize(("batch", "each_s"), [(1, 0.001), (4, 2.5), (10, 3), (7, 8)])
def test_a_rate_is_of_whole_calls_and_all_their_time(batch: int, each_s: float) -> None:
    clock, sizes = ManualClock(), list[int]()

    def classify(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        clock.advance(by_ns=SECOND_NS // 2)
        sizes.append(len(images))

    found = timed.rate_hz(classify, np.zeros((10, 1), np.uint8), batch=batch, each_s=each_s, clock=clock)
    assert found == batch * 2
    assert set(sizes) == {batch}, "a smaller batch is another measurement"
    assert len(sizes) - timed.WARM_CALLS == max(1, np.ceil(each_s * 2))


# --- shown ----------------------------------------------------------------------------------------

MACHINE: Final = Machine(processor="Some Processor", abilities=("avx2",), cores=2, kernel="Linux 6.1")
ONNX: Final = Measured(
    engine="onnx",
    identity="resnet20@0123456789ab",
    accuracy=0.9147,
    agreement=1.0,
    speeds=tuple(
        Speed(cores=cores, batch=batch, rate_hz=rate, lowest_hz=rate - 10, highest_hz=rate + 10)
        for cores, batch, rate in ((1, 1, 400.4), (1, 8, 1000), (2, 1, 600), (2, 8, 1912.5))
    ),
)
FOUND: Final = Speeds(
    model="resnet20@0123456789ab",
    at="20261121T120000Z",
    machine=MACHINE,
    settings=SpeedSettings(model="resnet20", engines=("onnx", "litert"), batches=(1, 8), cores=(1, 2)),
    reference="Keras",
    engines=(ONNX, Measured(engine="litert", missing="--engine litert needs ai_edge_litert;\n install it")),
)
PAGE: Final = """\
before

<!-- bench resnet20: from here -->
what was there
<!-- bench resnet20: to here -->
after
"""
SHOWN: Final = """\
before

<!-- bench resnet20: from here -->

`edgewise models bench --model resnet20 --engines onnx,litert --batches 1,8 --cores 1,2 --rounds 3 --each-s 1`, \
with resnet20@0123456789ab:

| engine | cores | batch 1 | batch 8 | accuracy % | as Keras % |
|---|---|---:|---:|---:|---:|
| onnx | 1 | 400 | 1,000 | 91.47 | 100.00 |
| onnx | 2 | 600 | 1,912 | 91.47 | 100.00 |
| litert | n/a | n/a | n/a | n/a | n/a |

* Some Processor with avx2; 2 cores; Linux 6.1. 20261121T120000Z.
* Images a second: the median of 3 rounds that alternate between the engines, each 1 s of calls or more, \
on images in memory; as many threads as cores.
* Accuracy, and the share of the labels that Keras's own plainest call gives too: of 10,000 test images.
* n/a, litert: --engine litert needs ai_edge_litert; install it
* BigDL runs in the cluster alone: edgewise models max --on cluster

<!-- bench resnet20: to here -->
after
"""


def test_a_page_gets_the_table_between_its_markers_again_and_again(tmp_path: Path) -> None:
    page = tmp_path / "engines.md"
    page.write_text(PAGE)
    for _ in range(2):
        speeds_shown.write_page(page, FOUND)
        assert page.read_text() == SHOWN
    assert [one.name for one in tmp_path.iterdir()] == [page.name]


def test_a_page_without_the_models_markers_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "engines.md"
    page.write_text(PAGE.replace("resnet20: to", "other: to"))
    with pytest.raises(ConfigError, match="has no place for resnet20: add the lines <!-- bench resnet20: from here"):
        speeds_shown.refuse(model="resnet20", plot=None, page=page)
    with pytest.raises(ConfigError, match=r"--page .*/none.md: No such file or directory"):
        speeds_shown.refuse(model="resnet20", plot=None, page=tmp_path / "none.md")


def test_the_table_shows_what_could_not_run_and_says_why() -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(speeds_shown.rendered(FOUND))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert lines[1] == "resnet20@0123456789ab: images a second by engine"
    assert lines[4:7] == [
        "onnx    1          400    1,000       91.47      100.00",
        "onnx    2          600    1,912       91.47      100.00",
        "litert  n/a        n/a      n/a         n/a         n/a",
    ]
    assert "n/a, litert: --engine litert needs ai_edge_litert; install it" in lines


def test_without_a_reference_agreement_is_not_invented() -> None:
    alone = ONNX.model_copy(update={"agreement": None})
    found = FOUND.model_copy(update={"engines": (alone,), "reference_missing": "no Keras here"})
    assert [row[-2:] for row in speeds_shown.rows(found)] == [("91.47", "n/a")] * 2
    assert "n/a, Keras: no Keras here" in list(speeds_shown.notes(found))


def test_the_picture_names_engines_cores_and_machine_and_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    speeds_shown.draw(first, FOUND)
    speeds_shown.draw(second, FOUND)
    text = first.read_text()
    assert text == second.read_text()
    for words in ("onnx, 91.47%", "litert, n/a", "1 core<", "2 cores<", "Some Processor", "images a second"):
        assert words in text
    with pytest.raises(ConfigError, match=r"--plot .*: there is no folder"):
        speeds_shown.refuse(model="resnet20", plot=tmp_path / "none" / "x.svg", page=None)


def test_every_engine_there_is_can_be_drawn(tmp_path: Path) -> None:
    every = tuple(ONNX.model_copy(update={"engine": name}) for name in engine.NAMES)
    speeds_shown.draw(tmp_path / "all.svg", FOUND.model_copy(update={"engines": every}))
    assert all(name in (tmp_path / "all.svg").read_text() for name in engine.NAMES)
