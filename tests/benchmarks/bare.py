"""A bare engine on images in memory: ``python -m tests.benchmarks.bare ENGINE PROCESSES`` prints JSON.

As many processes as the cluster has tasks, one thread each, all at the same time.
"""

import json
import multiprocessing
import sys
from multiprocessing.synchronize import Barrier
from typing import Any, Final

import numpy as np

from edgewise import dataset
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.parts import say
from models import engine as engines
from tests.benchmarks.cases import cpu_s

BATCH: Final = 64
IMAGES: Final = 6400
CLOCK: Final = SystemClock()


def work(engine: str, ready: Barrier, found: Any) -> None:  # noqa: ANN401 - a queue, whose type is private
    """Classify in one process; tell what it cost."""
    images = np.array(dataset.load("test", say=say).images[:IMAGES])
    loaded = engines.load(engine, model="resnet20", threads=1)
    for first in range(0, IMAGES // 4, BATCH):
        loaded.classify(images[first : first + BATCH])
    ready.wait()
    began_ns, before_s = CLOCK.ticks_ns(), cpu_s()
    for first in range(0, IMAGES, BATCH):
        loaded.classify(images[first : first + BATCH])
    found.put(((CLOCK.ticks_ns() - began_ns) / SECOND_NS, cpu_s() - before_s))


def main() -> None:
    """Measure and print."""
    engine, count = sys.argv[1], int(sys.argv[2])
    spawn = multiprocessing.get_context("spawn")
    ready, found = spawn.Barrier(count), spawn.Queue()
    running = [spawn.Process(target=work, args=(engine, ready, found)) for _ in range(count)]
    for one in running:
        one.start()
    costs = [found.get() for _ in running]
    for one in running:
        one.join()
    rate_hz = sum(IMAGES / wall_s for wall_s, _ in costs)
    cpu_us = sum(used_s for _, used_s in costs) / (IMAGES * count) * 1e6
    sys.stdout.write(json.dumps({"rate_hz": rate_hz, "cpu_us": cpu_us}) + "\n")


if __name__ == "__main__":
    main()
