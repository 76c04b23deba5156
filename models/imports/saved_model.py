"""TensorFlow's SavedModel folders, made into ONNX by tf2onnx."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from edgewise.errors import MissingError
from models.exports.onnx import OPSET
from models.imports.refusal import refused

PIN: Final = "tf2onnx==1.17.0"
"""The version that was tried."""


def convert(folder: Path, place: Path) -> None:
    """Write an ONNX file; in a process of its own, for TensorFlow's memory and talk.

    Raises:
        ConfigError: it cannot be read, or has operations that ONNX has not.
        MissingError: tf2onnx is not installed.
    """
    if importlib.util.find_spec("tf2onnx") is None:
        raise MissingError(f"{folder} needs tf2onnx, which is not installed; install it with: pip install {PIN}")
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(folder), "--output", str(place)]
    command += ["--opset", str(OPSET), "--tag", "serve"]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    child = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)  # noqa: S603 - ourselves
    if child.returncode or not place.exists():
        said = [line.strip() for line in child.stderr.splitlines() if line.strip()] or ["it does not say why"]
        raise refused(folder, f"expected a TensorFlow SavedModel, found one that tf2onnx refuses: {said[-1][:300]}")
