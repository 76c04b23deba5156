"""What a run of many frames takes to be accounted for and reported: seconds and memory of each step.

``python -m tests.benchmarks.ledger FRAMES FOLDER`` makes a run of so many frames on both tiers, reads it as the
ledger reads Kafka, and prints JSON. A process of its own, so that its memory is that of this work.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from compare.reports import page
from consumers.ledger import summary, table
from consumers.ledger.collect import Collected
from consumers.ledger.run import write
from consumers.ledger.truth import Truth
from edgewise import account, dataset, topics
from edgewise.account import CameraAccount, Closing, Entry, Plan
from edgewise.arrival import BRIDGED_NS
from edgewise.clock import MILLISECOND_NS
from edgewise.kafka import Record
from edgewise.messages import Codec, Tier, encode_frame, encode_result
from edgewise.parts import say
from tests.benchmarks.cases import cpu_s
from tests.fakes import FRAME, RESULT
from tests.tables import BOTH, START_NS

CAMERAS: Final = 1000
AFTER_MS: Final = {Tier.GATEWAY: 15, Tier.CLUSTER: 240}
AIMS: Final = {"report_s": 30.0, "memory_mb": 2000.0}
KIB: Final = 1024


def plan(frames: int) -> Plan:
    """Give the plan of a run of so many frames together."""
    return Plan(
        run="many",
        fleet="yard",
        start_ns=START_NS,
        seed=1,
        cameras=CAMERAS,
        rate_hz=10,
        frames=max(1, frames // CAMERAS),
        dataset=dataset.NAME,
        split="test",
        images=10_000,
        dataset_sha256=dataset.SPLITS["test"].sha256,
        codec=Codec.RAW,
        drop_after_s=5,
        version="",
    )


def records(planned: Plan, index: int) -> Iterator[Record]:
    """Give what one camera's frames left in Kafka: each frame, and both tiers' answers to it."""
    camera = planned.camera(index)
    frame, result = replace(FRAME, run=planned.run, camera=camera), replace(RESULT, run=planned.run, camera=camera)
    schedule = zip(planned.due_ns(index).tolist(), planned.image(index).tolist(), strict=True)
    for number, (due_ns, image) in enumerate(schedule):
        sent_ns = due_ns + MILLISECOND_NS
        wire = encode_frame(replace(frame, number=number, image=image, due_ns=due_ns, sent_ns=sent_ns))
        headers = ((BRIDGED_NS, b"%d" % (sent_ns + MILLISECOND_NS)),)
        yield Record(topics.FRAMES, 0, number, camera, wire, headers, sent_ns + 2 * MILLISECOND_NS)
        for tier, ms in AFTER_MS.items():
            inferred_ns = due_ns + ms * MILLISECOND_NS
            moments = dict.fromkeys(("received_ns", "started_ns", "inferred_ns"), inferred_ns)
            answer = replace(result, tier=tier, number=number, image=image, due_ns=due_ns, sent_ns=sent_ns, **moments)
            yield Record(topics.RESULTS, 0, number, camera, encode_result(answer), (), inferred_ns + MILLISECOND_NS)


def told(planned: Plan) -> tuple[Collected, float]:
    """Read a whole run; give it, and the CPU seconds of reading alone."""
    collected = Collected(planned.run, caught_up_ns=START_NS - MILLISECOND_NS)

    def entry(one: Entry) -> None:
        collected.add([Record(topics.RUNS, 0, 0, "", account.encode(one), (), START_NS)], now_ns=START_NS)

    entry(planned)
    read_s, everything = 0.0, [(0, planned.frames - 1)]
    for index in range(planned.cameras):
        some = list(records(planned, index))
        began_s = cpu_s()
        collected.add(some, now_ns=planned.end_ns())
        read_s += cpu_s() - began_s
        fates = {"sent": everything, "confirmed": everything, "unheard": [], "refused": [], "dropped": []}
        entry(CameraAccount.model_validate({"run": planned.run, "camera": planned.camera(index), **fates}))
    entry(Closing(run=planned.run, part="fleet", name=planned.fleet, summary={}))
    return collected, read_s


def measured(frames: int, folder: Path) -> dict[str, float]:
    """Account for a run and report it; give what that took."""
    labels = dataset.load("test", say=say).labels
    collected, read_s = told(plan(frames))
    began_s = cpu_s()
    rows = table.make(collected, tiers=BOTH, truth=Truth(lambda _: labels))
    found = summary.make(collected, rows, tiers=BOTH)
    table.write(rows, folder / table.FILE)
    write(found, folder)
    del collected, rows
    page.write(folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    return {"frames": frames, "read_s": read_s, "report_s": cpu_s() - began_s, "memory_mb": memory / 1e6}


def run(folder: Path, *, frames: int) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.ledger", str(frames), str(folder)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def show(found: dict[str, float], *, console: Console) -> None:
    """Print what it took."""
    title = f"{found['frames']:,.0f} frames on both tiers"
    shown = Table("what", "found", "aim", title=title, title_justify="left")
    shown.add_row(
        "reading them as they come, CPU us a record", f"{found['read_s'] / found['frames'] / 3 * 1e6:,.1f}", ""
    )
    shown.add_row("table, summary and page, CPU s", f"{found['report_s']:,.1f}", f"< {AIMS['report_s']:.0f}")
    shown.add_row("memory, MB", f"{found['memory_mb']:,.0f}", f"< {AIMS['memory_mb']:,.0f}")
    console.print(shown)


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), Path(sys.argv[2]))))  # noqa: T201 - for the process that asked
