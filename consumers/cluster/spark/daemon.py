"""The parent of Spark's Python workers: Spark's own, with a shorter path and what they all load loaded.

Spark puts two zip archives and its largest jar on every worker's path, and a worker
forgets before each task what it knew of its path: it then reads the directories of the
archives again, in Python, for 0.3 s a task. Workers are forked from this process, so
a path without archives here is one without archives there.
"""

import importlib.util
import sys
from typing import Final

ARCHIVES: Final = (".jar", ".zip", ".egg")


def shorten_path() -> None:
    """Take the archives off the path, unless Spark's Python side is nowhere else."""
    whole = list(sys.path)
    sys.path[:] = [place for place in whole if not place.endswith(ARCHIVES)]
    if importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("py4j") is None:
        sys.path[:] = [place for place in whole if not place.endswith(".jar")]
    for place in set(sys.path_importer_cache) - set(sys.path):
        if place.endswith(ARCHIVES):
            del sys.path_importer_cache[place]


if __name__ == "__main__":
    shorten_path()
    from pyspark.daemon import manager

    import consumers.cluster.model  # noqa: F401 - loaded once here, shared by the workers that are forked off

    manager()  # type: ignore[no-untyped-call]
