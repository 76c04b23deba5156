"""Libraries that greet the user before anybody can ask them not to."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STDERR: Final = 2
"""The file descriptor."""


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep back what is written to stderr below Python, unless an exception makes it matter.

    TensorFlow greets there from C++, before it reads any setting that would stop it.
    """
    sys.stderr.flush()
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), STDERR)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
