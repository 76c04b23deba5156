"""Where a cluster keeps how far it got: whose it is, and that one driver at a time uses it."""

import fcntl
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from kafka.errors import KafkaError

from edgewise.errors import ConfigError, UnreachableError
from edgewise.places import cache
from edgewise.topics import administration

ORIGIN: Final = "edgewise.json"
LOCK: Final = ".driver.lock"
NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Origin:
    """What the offsets in a checkpoint are offsets of."""

    topic: str
    kafka_id: str
    """That Kafka gave itself when it was formatted; another Kafka counts its own offsets."""


def kafka_id(address: str) -> str:
    """Ask a Kafka for its cluster id.

    Raises:
        UnreachableError: it does not answer.
    """
    with administration(address) as admin:
        try:
            return str(admin.describe_cluster()["cluster_id"])
        except KafkaError as error:
            raise UnreachableError("Kafka", at=address, hint=f"it did not say its cluster id: {error}") from error


def usual(origin: Origin, *, run: str) -> Path:
    """Give the checkpoint of a run, or of no run in particular, for a user who named none."""
    name = NOT_IN_NAMES.sub("-", f"{origin.kafka_id}-{run or 'all'}")
    return cache() / "checkpoints" / name


class Checkpoint:
    """A checkpoint folder in this driver's hands.

    A folder on this machine is locked and remembers its origin. One elsewhere (``hdfs://``,
    ``s3a://``) is left to Spark, which fails the second driver at its first commit.
    """

    def __init__(self, place: str) -> None:
        scheme = urlsplit(place).scheme
        self.location = place
        self.folder = Path(urlsplit(place).path if scheme == "file" else place) if scheme in {"", "file"} else None
        self._lock: IO[str] | Any = None

    def claim(self, origin: Origin, *, jvm: Any = None) -> None:  # noqa: ANN401 - py4j's view has no type
        """Take the folder for this driver, as long as it lives.

        With ``jvm`` the lock is taken by Spark's Java, the process that writes the checkpoint: it
        outlives a killed driver by a moment. Without, it is tried and given back, to refuse early.

        Raises:
            ConfigError: another driver has it, or it is another topic's or another Kafka's.
        """
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = self._free(self.folder / LOCK, jvm)
        except OSError as error:
            text = f"--checkpoint {self.location}: {error.strerror or error}; name a folder that can be written"
            raise ConfigError(text) from error
        if not free:
            raise ConfigError(
                f"--checkpoint {self.location} is in use by another driver; stop that one, or name another folder"
            )
        self._refuse_other(origin)

    def _free(self, path: Path, jvm: Any) -> bool:  # noqa: ANN401
        if jvm is not None:
            # Kept open on the Java side for as long as that process lives.
            self._lock = jvm.java.io.RandomAccessFile(str(path), "rw").getChannel().tryLock()
            return self._lock is not None
        with path.open("a") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        return True

    def _refuse_other(self, origin: Origin) -> None:
        path = (self.folder or Path()) / ORIGIN
        try:
            found = Origin(**json.loads(path.read_text()))
        except FileNotFoundError:
            path.write_text(json.dumps({"topic": origin.topic, "kafka_id": origin.kafka_id}) + "\n")
            return
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path} is damaged; name another --checkpoint") from error
        if found != origin:
            raise ConfigError(
                f"--checkpoint {self.location} counts the offsets of topic {found.topic!r} in Kafka {found.kafka_id}, "
                f"not of {origin.topic!r} in {origin.kafka_id}; name another folder"
            )
