"""The maximum: what is looped over, for how long, and how it is told."""

import json
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from compare.engines import maximum
from compare.engines.maximum import Maximum, Place
from compare.runs import machine
from compare.runs.machine import Machine
from edgewise.clock import SECOND_NS, ManualClock

IMAGES: Final = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
MACHINE: Final = Machine(processor="Some Processor", abilities=("avx2",), cores=2, kernel="Linux 6.1")


class Slow:
    """Takes a second a call; says that an image's class is its only pixel."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sizes: list[int] = []

    def classify(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        self.clock.advance(by_ns=SECOND_NS)
        self.sizes.append(len(images))
        return images.ravel().astype(np.int64), np.ones(len(images), dtype=np.float32)


@pytest.mark.parametrize(
    ("duration_s", "calls", "classified"),
    [(0, 3, 10), (2, 3, 10), (3, 3, 10), (3.5, 4, 14), (7, 7, 24)],
)
def test_it_loops_for_its_time_and_one_whole_pass_at_least(duration_s: float, calls: int, classified: int) -> None:
    slow = Slow()
    found = maximum.loop(slow.classify, IMAGES, batch=4, duration_s=duration_s, clock=slow.clock)
    assert found[:2] == (classified, calls), "every second counts, the first and the last too"
    assert found[2].tolist() == list(range(10))
    assert slow.sizes == ([4, 4, 2] * 3)[:calls]


def test_a_batch_larger_than_all_images_is_all_images() -> None:
    assert list(maximum.slices(10, batch=64)) == [slice(0, 10)]


FOUND: Final = Maximum(
    on=Place.GATEWAY,
    engine="onnx",
    model="resnet20@0123456789ab",
    split="test",
    images=10_000,
    classified=25_000,
    wall_s=10.04,
    rate_hz=2490.04,
    cores=2,
    rate_hz_per_core=1245.02,
    cores_busy=1.97,
    correct=9147,
    batch=128,
    machine=MACHINE,
)


TEXT: Final = """\
The maximum on the gateway: onnx with resnet20@0123456789ab
cores    img/s  img/s/core  cores busy  passes  seconds  accuracy %  of
────────────────────────────────────────────────────────────────────────────────
    2  2,490.0     1,245.0        1.97    2.50     10.0       91.47  test images
10,000 test images in memory, at most 128 in a call. Inside the time: the
engine's call for each batch, from pixels in memory to labels and scores.
Outside: loading the model, and a call of each batch size before the clock
starts.
No constant is taken off the time.
Some Processor with avx2; 2 cores; Linux 6.1
"""


def printed(found: Maximum) -> str:
    """Give the lines of the table, without the first, which is empty."""
    console = Console(width=80)
    with console.capture() as captured:
        console.print(maximum.rendered(found))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()[1:])


def test_it_is_told_with_what_is_in_the_time_and_on_which_machine() -> None:
    assert printed(FOUND) == TEXT


def test_training_images_are_called_so_beside_the_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    trained = FOUND.model_copy(update={"split": "train", "images": 50_000})
    text = " ".join(printed(trained).split())
    assert "accuracy %" in text
    assert "18.29 training images" in text
    assert "50,000 training images in memory" in text
    assert "The network was trained on these images: their accuracy says nothing of others." in text
    maximum.print_found(trained, as_json=True)
    assert json.loads(capsys.readouterr().out)["accuracy_of"] == "training images"


def test_as_json_nothing_is_left_out_and_nothing_rounded(capsys: pytest.CaptureFixture[str]) -> None:
    maximum.print_found(FOUND, as_json=True)
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["rate_hz"] == FOUND.rate_hz
    assert (told["passes"], told["accuracy"], told["accuracy_of"]) == (2.5, 0.9147, "test images")
    assert set(Maximum.model_fields) <= set(told)


def test_on_a_cluster_elsewhere_the_cores_that_were_used_are_not_known() -> None:
    elsewhere = FOUND.model_copy(update={"on": Place.CLUSTER, "cores_busy": None})
    assert " n/a " in printed(elsewhere)
    assert "Inside the time: whole Spark jobs" in " ".join(printed(elsewhere).split())


CPUINFO: Final = "processor : 0\nmodel name\t: Big 9000\nflags\t\t: fpu avx2 ssse3 avx512_vnni\n"


def test_a_machine_is_named_by_what_decides_speed() -> None:
    found = machine.of(CPUINFO)
    assert (found.processor, found.abilities) == ("Big 9000", ("avx2", "avx512_vnni"))
    assert str(found).startswith("Big 9000 with avx2, avx512_vnni; ")


def test_a_machine_that_does_not_say_what_it_is_has_its_kind() -> None:
    found = machine.of("")
    assert found.processor
    assert found.abilities == ()
    assert " with " not in str(found)
