"""What each part may do: its topics and no others. A camera is a user of the MQTT broker alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.mqtt.inbox import ALL_FRAMES
from edgewise.mqtt.presence import camera_status, part_status
from edgewise.topics import FRAMES, REJECTED, RESULTS, RUNS

ADMIN: Final = "admin"
"""Makes topics and users; is asked for by nothing that runs all day."""
EVERYTHING: Final = (FRAMES, RESULTS, REJECTED, RUNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a user may do; every user of Kafka may ask whether the topics are there."""

    hears: tuple[str, ...] = ()
    """MQTT topics that it receives."""
    says: tuple[str, ...] = ()
    """MQTT topics that it publishes to."""
    reads: tuple[str, ...] = ()
    """Kafka topics."""
    writes: tuple[str, ...] = ()
    """Kafka topics."""
    groups: tuple[str, ...] = ()
    """Of Kafka's consumer groups, those that it commits to; a star at the end stands for anything."""
    looks: tuple[str, ...] = ()
    """The same, of those whose lag it sees."""

    @property
    def of_mqtt(self) -> bool:
        """Say whether it is a user of the MQTT broker at all."""
        return bool(self.hears or self.says)


def _frames_for(part: str) -> dict[str, tuple[str, ...]]:
    return {"hears": (ALL_FRAMES,), "says": (part_status(part, "+"),)}


RIGHTS: Final[Mapping[str, Rights]] = {
    "fleet": Rights(hears=("parts/#",), reads=(RUNS,), writes=(RUNS,)),
    "bridge": Rights(**_frames_for("bridge"), writes=(FRAMES, REJECTED, RUNS)),
    "gateway": Rights(**_frames_for("gateway"), reads=(FRAMES,), writes=(RESULTS, REJECTED, RUNS), groups=("gateway",)),
    # Spark gives each of its queries a group of its own, with this beginning.
    "cluster": Rights(reads=(FRAMES,), writes=(RESULTS, REJECTED, RUNS), groups=("cluster", "spark-kafka-source*")),
    "ledger": Rights(reads=EVERYTHING, writes=(RUNS,)),
    "viewer": Rights(hears=(camera_status("+"), "parts/#"), reads=EVERYTHING, looks=("*",)),
}
CAMERA: Final = ("cameras/%u/frames", camera_status("%u"))
"""What any user may publish to: the topics of the camera that has the user's name."""


def mosquitto_acl() -> str:
    """Write mosquitto's ACL file; whatever it does not name is forbidden."""
    lines = ["# Of a camera: its user's name is its own.", *(f"pattern write {topic}" for topic in CAMERA)]
    for user, rights in RIGHTS.items():
        if rights.of_mqtt:
            # The pattern above is any user's, and a part is no camera.
            lines += ["", f"user {user}", *(f"topic deny {topic.replace('%u', user)}" for topic in CAMERA)]
            lines += [f"topic read {topic}" for topic in rights.hears]
            lines += [f"topic write {topic}" for topic in rights.says]
    return "\n".join([*lines, "", f"user {ADMIN}", "topic readwrite #"]) + "\n"
