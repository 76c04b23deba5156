"""Locust's own MQTT user as a camera, as its documentation has it: the same payload, topics and rate as ours.

What it is told stands in the environment. It runs in a virtual environment of its own.
"""

import itertools
import os
import struct
import time
from pathlib import Path

from locust import constant_throughput, task  # type: ignore[import-not-found]  # in no environment of ours
from locust.contrib.mqtt import MqttUser  # type: ignore[import-not-found]

PAYLOAD = Path(os.environ["BENCH_PAYLOAD"]).read_bytes()
STAMP = struct.Struct(">QQ")
PLACES = itertools.count()


class Camera(MqttUser):  # type: ignore[misc]
    """One camera: each payload begins with its number and the moment at which it was given to Locust's client."""

    host = os.environ["BENCH_HOST"]
    port = int(os.environ["BENCH_PORT"])
    wait_time = constant_throughput(float(os.environ["BENCH_RATE_HZ"]))

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self.topic = f"cameras/locust-{next(PLACES)}/frames"
        self.number = 0

    def on_start(self) -> None:
        """Wait for the connection, or the first frames would be counted and never sent."""
        while not self.client.is_connected():
            time.sleep(0.05)  # noqa: TID251 - Locust's way: it lets the other users go on

    @task  # type: ignore[untyped-decorator]
    def publish(self) -> None:
        """Publish with QoS 1, as our cameras do."""
        stamp = STAMP.pack(self.number, time.time_ns())  # noqa: TID251 - no Clock of ours is there
        self.client.publish(self.topic, stamp + PAYLOAD[STAMP.size :], qos=1)
        self.number += 1
