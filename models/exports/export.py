"""A model in another library's format, at a place of the user's choice: ``edgewise models export``."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edgewise.errors import ConfigError, MissingError
from models.engine import PINS, model_file
from models.exports import bigdl, litert, onnx


class Format(StrEnum):
    """What a model can be written as."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    LITERT = "litert"
    BIGDL = "bigdl"


SUFFIXES = {Format.ONNX: ".onnx", Format.OPENVINO: ".xml", Format.LITERT: ".tflite", Format.BIGDL: ".bigdl"}


@dataclass(frozen=True, slots=True)
class Export:
    """What was written."""

    sizes_bytes: Mapping[Path, int]
    """Of each file."""
    fp32_bytes: int | None
    """What all of them are in float32, for int8 only."""

    def told(self) -> str:
        """Say so in one line."""
        where = ", ".join(f"{file}: {size:,} bytes" for file, size in self.sizes_bytes.items())
        if self.fp32_bytes is None:
            return where
        share = sum(self.sizes_bytes.values()) / self.fp32_bytes
        return f"{where}; {share:.3f} of float32's {self.fp32_bytes:,} bytes"


def write(model: str, *, to: Format, int8: bool = False, out: Path | None = None) -> Export:
    """Write a model in another format.

    Args:
        model: a shipped model's name, or a file.
        to: the format.
        int8: calibrated on training images.
        out: the file; NAME.SUFFIX in this folder if not said.

    Raises:
        ConfigError: no such model or folder, or one that has no place in this format.
        MissingError: a library or the training images are not there.
    """
    source = model_file(model)
    place = out or Path(f"{source.stem}{'-int8' * int8}{SUFFIXES[to]}")
    if int8 and to is Format.BIGDL:
        raise ConfigError("--int8: BigDL has no int8 of ours; take --to onnx, openvino or litert")
    if to is Format.OPENVINO and place.suffix != ".xml":
        raise ConfigError(f"--out {place}: OpenVINO's file ends in .xml; the weights go beside it, in .bin")
    if place.is_dir() or not place.absolute().parent.is_dir():
        raise ConfigError(f"--out {place}: there is no folder {place.parent}, or it is a folder itself; name a file")
    try:
        sizes = {one: one.stat().st_size for one in _written(source, place, to=to, int8=int8)}
        return Export(sizes, _float_bytes(source, place, to=to) if int8 else None)
    except ModuleNotFoundError as error:
        missing = error.name or "a library"
        raise MissingError(
            f"--to {to} needs {missing}, which is not installed; "
            f"install it with: pip install {PINS.get(missing, missing)}"
        ) from error
    except OSError as error:
        raise ConfigError(f"--out {place}: {error.strerror or error}") from error


def _written(source: Path, place: Path, *, to: Format, int8: bool) -> tuple[Path, ...]:
    if to is Format.OPENVINO:
        return _openvino(onnx.file(source, int8=int8), place)
    made = {
        Format.ONNX: lambda: onnx.file(source, int8=int8),
        Format.LITERT: lambda: litert.file(source, int8=int8),
        Format.BIGDL: lambda: bigdl.file(source),
    }[to]()
    if not (place.exists() and made.samefile(place)):
        shutil.copyfile(made, place)
    return (place,)


def _openvino(file: Path, place: Path) -> tuple[Path, ...]:
    import openvino  # type: ignore[import-untyped]

    try:
        read = openvino.Core().read_model(file)
    except RuntimeError as error:
        raise ConfigError(f"OpenVINO cannot read {file}: {str(error).strip().splitlines()[-1][:200]}") from error
    openvino.save_model(read, place, compress_to_fp16=False)
    return place, place.with_suffix(".bin")


def _float_bytes(source: Path, place: Path, *, to: Format) -> int:
    """Say how large the float32 file of the same format is."""
    beside = place.with_name(f".{place.stem}-float32{place.suffix}")
    files: tuple[Path, ...] = ()
    try:
        files = _written(source, beside, to=to, int8=False)
        return sum(one.stat().st_size for one in files)
    finally:
        for one in files:
            one.unlink(missing_ok=True)
