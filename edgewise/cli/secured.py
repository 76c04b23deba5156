"""The option --security of every command that talks to a broker, and the folder of secrets that it names."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from edgewise import addresses, options
from edgewise import security as profiles
from edgewise.cli.program import app
from edgewise.errors import ConfigError, FrameError
from edgewise.parts import say

DAY_S: Final = 24 * 3600

security = typer.Typer(help="Make certificates, users and passwords; have Kafka know them.")
app.add_typer(security, name="security")


def secured(part: str = profiles.OTHERS) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the option --security, and put what it names in force before the command begins."""

    def with_option(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def begun(*arguments: object, security: Path | None, **named: object) -> None:
            profiles.use(security, part=part)
            command(*arguments, **named)

        # What typer reads: the command's own options, and this one.
        asked = inspect.signature(command)
        option = inspect.Parameter(
            "security", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=options.Security
        )
        begun.__signature__ = asked.replace(parameters=[*asked.parameters.values(), option])  # type: ignore[attr-defined]
        begun.__annotations__ = {**command.__annotations__, "security": options.Security}
        return begun

    return with_option


@security.command()
def make(
    out: Annotated[Path, typer.Option(help="Folder to make; nobody else may look inside.")],
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or address of a broker; may be said more than once.",
            show_default="mosquitto, kafka, localhost, 127.0.0.1",
        ),
    ] = None,
    cameras: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COUNT", help="Cameras of a fleet, a user for each.", show_default="camera=10"),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="That the certificates last.")] = 365,
    containers: Annotated[  # noqa: FBT002
        bool, typer.Option("--containers", help="Let other user ids read a file that is mounted for them.")
    ] = False,
    over: Annotated[bool, typer.Option("--over", help="Make anew what is there.")] = False,  # noqa: FBT002
) -> None:
    """Make a development CA, certificates for both brokers, and a user with a random password for each part.

    Example: edgewise security make --out secrets --cameras camera=100
    """
    from brokers.secured import folder

    hosts = [*(host or ()), "mosquitto", "kafka", "localhost", addresses.LOOPBACK]
    wanted = folder.Wanted(
        hosts=list(dict.fromkeys(hosts)),
        cameras=dict(_counted(one) for one in cameras or ("camera=10",)),
        lasts_s=days * DAY_S,
        containers=containers,
    )
    folder.make(out, wanted, over=over)
    say(f"a certificate authority, two brokers and their users are in {out}; try it with: edgewise up --security {out}")


def _counted(text: str) -> tuple[str, int]:
    from edgewise.messages import refuse_camera_name

    name, _, count = text.partition("=")
    if not count.isdecimal():
        raise ConfigError(f"--cameras {text!r} is not NAME=COUNT; for example --cameras camera=100")
    try:
        refuse_camera_name(f"{name}-{count}")
    except FrameError as error:
        raise ConfigError(f"--cameras {text!r}: {error}") from error
    return name, int(count)


@security.command()
def admit(
    folder: Annotated[
        Path, typer.Option("--security", envvar=profiles.VARIABLE, metavar="DIR", help="Folder of secrets.")
    ],
    kafka: options.Kafka = None,
    partitions: options.Partitions = 4,
) -> None:
    """Make Kafka's users, what each may do, and the topics; again after a change of the folder.

    Example: edgewise security admit --kafka kafka.example:9092 --security secrets
    """
    from brokers.secured import admission

    address = addresses.kafka_address(kafka)
    admission.admit(address, folder, partitions=partitions)
    say(f"Kafka at {address} knows the users of {folder}")
