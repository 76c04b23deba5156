"""Where things are kept between runs: the cache, and the address book of brokers that ``edgewise up`` started."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def cache() -> Path:
    """Give the folder of what was downloaded: $EDGEWISE_CACHE, else edgewise/ in the user's cache."""
    named = os.environ.get("EDGEWISE_CACHE")
    base = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgewise"
    base.mkdir(parents=True, exist_ok=True)
    return base


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time fill a place in the cache; the lock goes when its holder dies."""
    with (cache() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(place: Path, make: Callable[[], object], *, lock: str) -> Path:
    """Give what stands in the cache, made first if it is not there: by one process, while the others wait.

    ``make`` lets it appear whole or not at all.
    """
    if not place.exists():
        with locked(lock):
            if not place.exists():
                make()
    return place
