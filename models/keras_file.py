"""How a ``.keras`` file is read, and what is said of one that cannot be."""

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.errors import ConfigError
from edgewise.quiet import quiet_stderr

if TYPE_CHECKING:
    import keras


def read(model: Path) -> "keras.Model":
    """Read a model file, without its optimizer.

    Raises:
        ConfigError: there is none, or Keras cannot read it: damaged, or with a layer that it does not know.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        import keras

    if not model.exists():
        raise ConfigError(f"no model at {model}; the shipped ones are in models/weights")
    try:
        return keras.models.load_model(model, compile=False)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        said = str(error).strip().splitlines() or ["no reason given"]
        raise ConfigError(f"Keras cannot read {model}: {said[0][:200]}; is it a whole .keras file?") from error
