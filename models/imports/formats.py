"""Which format a file is in: by what it holds, whatever it is called."""

import zipfile
from enum import StrEnum
from pathlib import Path
from typing import Final

from models.imports.refusal import first_line, refused


class Format(StrEnum):
    """What can be imported."""

    KERAS_H5 = "Keras .h5"
    KERAS = "Keras .keras"
    ONNX = "ONNX"
    SAVED_MODEL = "TensorFlow SavedModel"
    BIGDL = "BigDL, serialised by Java"


WANTED: Final = ", ".join(Format)
STARTS: Final = {
    b"\x89HDF\r\n\x1a\n": Format.KERAS_H5,
    b"PK\x03\x04": Format.KERAS,
    b"\xac\xed\x00\x05": Format.BIGDL,
}
"""A format's first bytes; ONNX has none that are its own."""
LITERT: Final = b"TFL3"
"""From the fifth byte of what LiteRT runs."""


def of(file: Path) -> Format:
    """Say what a file or folder is.

    Raises:
        ConfigError: there is none, or it is nothing that can be imported.
    """
    if file.is_dir():
        if (file / "saved_model.pb").is_file():
            return Format.SAVED_MODEL
        raise refused(file, "expected a TensorFlow SavedModel, found a folder without saved_model.pb")
    try:
        with file.open("rb") as stored:
            start = stored.read(16)
    except OSError as error:
        raise refused(file, f"it cannot be read: {error.strerror}") from error
    if not start:
        raise refused(file, f"expected one of {WANTED}; found an empty file")
    found = next((kind for signature, kind in STARTS.items() if start.startswith(signature)), None)
    if found is Format.KERAS:
        _refuse_other_archives(file)
    if found is not None:
        return found
    if start[4:8] == LITERT:
        raise refused(file, f"expected one of {WANTED}; found a LiteRT model; import the model that it was made of")
    if _is_onnx(file):
        return Format.ONNX
    raise refused(file, f"expected one of {WANTED}; found something that begins with {start[:8]!r}")


def _refuse_other_archives(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names, damaged = archive.namelist(), archive.testzip()
    except zipfile.BadZipFile as error:
        raise refused(file, f"expected a whole .keras file, found a damaged archive: {first_line(error)}") from error
    if damaged:
        raise refused(file, f"expected a whole .keras file, found an archive whose {damaged} is damaged")
    if missing := {"config.json", "model.weights.h5"} - set(names):
        inside = ", ".join(sorted(names)[:3]) or "nothing"
        raise refused(file, f"expected a .keras file, found an archive without {min(missing)} (it holds {inside})")


def _is_onnx(file: Path) -> bool:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(file, load_external_data=False)
    except (DecodeError, UnicodeDecodeError) as error:
        # Cut off, or nothing of the kind: an ONNX file begins with its version, field 1, a small number.
        with file.open("rb") as stored:
            version, small = stored.read(2)[:2].ljust(2, b"\xff")
        if version == 0x08 and small < 0x20:  # noqa: PLR2004 - the field's tag; versions are at 13
            raise refused(file, "expected a whole ONNX file, found one that is cut off or damaged") from error
        return False
    return bool(model.ir_version and model.graph.node)
