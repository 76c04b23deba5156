"""Runs that were never run, for tests of who watches them: their messages are the real ones, no broker carries them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import uvicorn
from numpy.typing import NDArray

from consumers.watch.feed import Asked, Feed, Truth
from consumers.watch.web import application
from edgewise import account, addresses, dataset, topics
from edgewise.account import Closing, Entry, Plan
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock
from edgewise.kafka import Client, Record
from edgewise.messages import Codec, Frame, Result, Tier, encode_frame, encode_result
from tests.real import eventually

RUN: Final = "watched"
START_NS: Final = 1_700_000_000 * SECOND_NS
LABELS: Final = np.arange(dataset.SPLITS["test"].images, dtype=np.uint8) % 10


def plan(*, run: str = RUN, cameras: int = 4, frames: int = 100, start_ns: int = START_NS, rate_hz: float = 10) -> Plan:
    """Plan a run."""
    return Plan(
        run=run,
        fleet="camera",
        start_ns=start_ns,
        seed=1,
        cameras=cameras,
        rate_hz=rate_hz,
        frames=frames,
        dataset=dataset.NAME,
        split="test",
        images=dataset.SPLITS["test"].images,
        dataset_sha256=dataset.SPLITS["test"].sha256,
        codec=Codec.RAW,
        drop_after_s=60,
        version="",
    )


def entry(found: Entry) -> Record:
    """Give an entry as a record of the topic runs."""
    return record(topics.RUNS, account.key(found), account.encode(found))


def closing(*, run: str = RUN, frames: int = 400) -> Record:
    """Give the account with which a fleet ends."""
    return entry(Closing(run=run, part="fleet", name="camera", summary={"sent": frames, "confirmed": frames}))


def record(topic: str, key: str, value: bytes, *, appended_ns: int = START_NS) -> Record:
    """Give a record as it is read."""
    return Record(topic, 0, 0, key, value, (), appended_ns)


def frame(
    camera: str,
    number: int,
    *,
    run: str = RUN,
    payload: bytes | None = None,
    codec: Codec = Codec.RAW,
    side: int = dataset.SIDE,
) -> Record:
    """Give a frame: one colour all over, its number's."""
    wire = encode_frame(
        Frame(
            run=run,
            camera=camera,
            number=number,
            dataset=dataset.NAME,
            split="test",
            image=number,
            width=side,
            height=side,
            codec=codec,
            due_ns=START_NS,
            sent_ns=START_NS,
            payload=bytes([number % 256]) * 3072 if payload is None else payload,
        )
    )
    return record(topics.FRAMES, camera, wire)


def result(
    camera: str, number: int, tier: Tier, *, label: int | None = None, late_ms: int = 20, run: str = RUN
) -> Record:
    """Give a tier's answer, a right one if no label is named."""
    wire = encode_result(
        Result(
            run=run,
            camera=camera,
            number=number,
            dataset=dataset.NAME,
            split="test",
            image=number,
            tier=tier,
            engine="onnx",
            model="resnet20@0123456789ab",
            label=number % 10 if label is None else label,
            score=0.9,
            due_ns=START_NS,
            sent_ns=START_NS,
            bridged_ns=None,
            appended_ns=START_NS if tier is Tier.CLUSTER else None,
            received_ns=START_NS,
            started_ns=START_NS,
            inferred_ns=START_NS,
            size_bytes=3200,
            batch=1,
            tasks=1,
            worker="here",
        )
    )
    return record(topics.RESULTS, camera, wire, appended_ns=START_NS + late_ms * MILLISECOND_NS)


def labels(split: str) -> NDArray[np.uint8]:
    """Give true classes: an image's is the last digit of its number."""
    assert split == "test"
    return LABELS


def rejection(camera: str, number: int, tier: Tier, *, damaged: bool = False, appended_ns: int = START_NS) -> Record:
    """Give a tier's rejection of a frame; of one that was damaged on its way if asked to."""
    wire = frame(camera, number).value
    wire = wire[:-9] + b"damaged!!" if damaged else wire
    return Record(topics.REJECTED, 0, 0, camera, wire, (("by", tier.value.encode()),), appended_ns)


def feed(
    clock: Clock,
    *,
    run: str = "",
    runs: Path = Path(),
    records: Sequence[Record] = (),
    truth: Truth | None = None,
    planned: Plan | None = None,
    split: int | None = None,
) -> Feed:
    """Give a feed that reads no Kafka, but what it is given."""
    asked = Asked("nowhere:9092", Client.AUTO, run, runs, None, split)
    made = Feed(asked, clock=clock, truth=truth or Truth(labels))
    made.add_plans([entry(planned or plan())])
    made.add(records)
    return made


@contextmanager
def served(source: Feed, *, token: str = "", port: int = 0) -> Iterator[int]:
    """Serve a feed's page on the loopback for a while; give the port."""
    port = port or addresses.free_port()
    app = application(source, token=token, port=port)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), within_s=20)
        yield port
    finally:
        server.should_exit = True
        thread.join()
