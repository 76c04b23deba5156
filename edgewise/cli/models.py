"""The models: trained, brought in, written for other engines, compared. What is done stands in ``models``."""

from pathlib import Path
from typing import Annotated

import typer

from edgewise import options, show
from edgewise.cli.program import app
from edgewise.errors import InvalidRunError
from edgewise.options import Format
from edgewise.parts import say
from edgewise.quiet import quiet_stderr
from models import recipes
from models.exports import export as exports
from models.imports.pixels import Pixels

models = typer.Typer(help="Train, convert, check and measure the models.")
app.add_typer(models, name="models")

Network = Annotated[str, typer.Argument(metavar="NAME", help=f"Of a network: {', '.join(recipes.RECIPES)}.")]


@models.command()
def train(
    network: Network,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Times through the training images.", show_default="the recipe's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of first weights, order, shifts, flips and dropout.")] = 1,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keeps what the next epoch needs, and the curve.", show_default="training/NAME-EPOCHS-SEED"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The .keras file to write.", show_default="models/weights/NAME.keras")
    ] = None,
) -> None:
    """Train a network on CIFAR-10; stopped, it goes on with the next call.

    Example: edgewise models train cifar_cnn --epochs 20
    """
    recipe = recipes.named(network, epochs=epochs, seed=seed)
    with quiet_stderr():
        from models.train import run_train

    try:
        run_train(recipe, folder=folder, out=out)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@models.command(name="list")
def listed(form: options.Print = Format.TABLE) -> None:
    """Show the models that come with the kit.

    Example: edgewise models list
    """
    from compare.engines import zoo

    zoo.show_all(as_json=form is Format.JSON)


@models.command(name="import")
def bring(
    file: Annotated[Path, typer.Argument(help="Keras .h5 or .keras, ONNX, a SavedModel's folder, BigDL by Java.")],
    name: Annotated[str | None, typer.Option(help="Of the model.", show_default="the file's")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the model file and its card.")] = Path(),
    pixels: Annotated[
        Pixels | None,
        typer.Option(help="How pixels were scaled in training.", show_default="found out with training images"),
    ] = None,
) -> None:
    """Make a model of another format into one that the engines load, and measure it.

    Example: edgewise models import trained.h5 --name mine --out models/weights
    """
    from models.imports.run import Asked, run, told

    show.text(told(*run(Asked(file=file, name=name, out=out, pixels=pixels), say=say)))


@models.command()
def check(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a .keras or .onnx file.")],
    engines: Annotated[
        str, typer.Option(help="Which, with commas.", show_default="all; n/a where one cannot run")
    ] = "",
    form: options.Print = Format.TABLE,
) -> None:
    """Hold every engine's answers on all test images to those of the model's own library, and note it on the card.

    Example: edgewise models check resnet20 --engines onnx,bigdl
    """
    from compare.engines import equivalence, zoo

    with quiet_stderr():
        import keras  # noqa: F401 - it talks while it is loaded
    outcome = equivalence.check_engines(model, engines=engines.split(",") if engines else equivalence.ENGINES)
    zoo.show_check(outcome, as_json=form is Format.JSON)
    raise typer.Exit(0 if outcome.passed else InvalidRunError.exit_code)


@models.command()
def export(
    model: Annotated[str, typer.Argument(metavar="NAME", help="Of a shipped model, or a .keras or .onnx file.")],
    to: Annotated[exports.Format, typer.Option(help="The library that is to read it.")],
    int8: Annotated[bool, typer.Option("--int8", help="In int8, calibrated on training images.")] = False,  # noqa: FBT002
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write.", show_default="NAME and the format's ending, in this folder"),
    ] = None,
) -> None:
    """Write a model in another library's format.

    Example: edgewise models export resnet20 --to openvino --int8
    """
    show.text(exports.write(model, to=to, int8=int8, out=out).told())


@models.command()
def bench(
    model: options.Model = "resnet20",
    engines: Annotated[
        str, typer.Option(help="Which, with commas.", show_default="all; n/a where one cannot run")
    ] = "",
    batches: Annotated[str, typer.Option(help="Images in a call, with commas.")] = "1,8,32,128",
    cores: Annotated[str, typer.Option(help="How many, with commas.", show_default="1,2 as far as there are")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Through all engines and back; the median counts.")] = 3,
    each_s: Annotated[float, typer.Option(min=0.001, help="For so long each figure is timed in each round.")] = 1.0,
    images: Annotated[
        int, typer.Option(min=1, max=10_000, help="Test images that accuracy and agreement are of.")
    ] = 10_000,
    plot: Annotated[Path | None, typer.Option(help="Draw it here, as SVG.", show_default=False)] = None,
    page: Annotated[
        Path | None, typer.Option(help="Put the table into this page, between its markers.", show_default=False)
    ] = None,
    form: options.Print = Format.TABLE,
) -> None:
    """Time every engine on this machine, with accuracy and agreement beside the speed.

    Example: edgewise models bench --batches 1,32 --cores 1 --plot engines.svg
    """
    from compare.engines import speeds, speeds_shown

    settings = speeds.asked(
        model=model, engines=engines, batches=batches, cores=cores, rounds=rounds, each_s=each_s, images=images
    )
    speeds_shown.refuse(model=model, plot=plot, page=page)
    try:
        found = speeds.run(settings)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    speeds_shown.show_all(found, as_json=form is Format.JSON, plot=plot, page=page)


@models.command(name="max")
def maximum(
    model: options.Model = "resnet20",
    engine: Annotated[
        str,
        typer.Option(help="What runs the model; in the cluster also bigdl.", show_default="keras; cluster: bigdl"),
    ] = "",
    on: Annotated[str, typer.Option(help="gateway: the engine alone; cluster: as a Spark job.")] = "gateway",
    duration_s: Annotated[
        float, typer.Option(min=0, help="For so long, and one pass over all images at least.")
    ] = 10.0,
    train_set: Annotated[  # noqa: FBT002
        bool, typer.Option("--train-set", help="The 50,000 training images; the test images otherwise.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Images in a call of the engine, at most.")] = 128,
    threads: Annotated[
        int, typer.Option(min=0, help="Of the engine, in the cluster of each task.", show_default="all; cluster: 1")
    ] = 0,
    tasks: Annotated[int, typer.Option(min=0, help="Of the cluster; 0 is one for each core.")] = 0,
    master: Annotated[str, typer.Option(help="Spark's.", show_default="local, all cores")] = "",
    memory: Annotated[str, typer.Option(help="Of the cluster's executors, and of its driver.")] = "2g",
    form: options.Print = Format.TABLE,
) -> None:
    """Loop over images in memory, as fast as one engine can.

    Example: edgewise models max --engine onnx --on cluster --duration-s 20
    """
    from compare.engines import maximum as most

    settings = most.MaximumSettings(
        model=model,
        on=on,  # type: ignore[arg-type]  # pydantic checks it, and says which are allowed
        engine=engine,
        duration_s=duration_s,
        split="train" if train_set else "test",
        batch=batch,
        threads=threads,
        tasks=tasks,
        master=master,
        memory=memory,
    )
    try:
        found = most.run(settings)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    most.print_found(found, as_json=form is Format.JSON)
