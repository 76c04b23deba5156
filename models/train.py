"""Train a network on CIFAR-10, deterministic by seed, resumable after a kill.

The recipe: SGD with Nesterov momentum, one learning-rate cycle (Smith and Topin 2017,
arXiv 1708.07120), label smoothing, random flips and 4-pixel shifts. The test images are
looked at after each epoch to draw the curve, and decide nothing: the last epoch ships.
What the networks differ in stands in ``models/recipes.py``. A GPU is used where TensorFlow
sees one, and gives other weights than a CPU does.

    edgewise models train resnet20
"""

import fcntl
import json
import math
import os
import platform
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Not 2: TensorFlow tells, as an error, of an attribute of its own that it does not know and ignores.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from edgewise import dataset
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.dataset import Split
from edgewise.errors import ConfigError, MissingError
from edgewise.parts import say
from models import curve
from models.card import Card, write
from models.identity import keras_weights, weights_sha256
from models.networks import NETWORKS
from models.recipes import Recipe

CLOCK = SystemClock()
FLIPPED = 0.5
"""Share of the images that are mirrored."""
IMAGE_DIMENSIONS = 4
"""Images, height, width, channels."""
MINUTE_S = 60


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # keras is untyped
    """Rise in a line to the peak, then fall along a cosine to nothing."""

    def __init__(self, *, peak: float, steps: int, warm_up: float) -> None:
        self.peak, self.steps, self.warm_up = peak, steps, warm_up

    def __call__(self, step: Any) -> Any:  # noqa: ANN401 - a tensor inside, a number outside
        """Give the learning rate of one step."""
        done = tf.cast(step, "float32") / self.steps
        rise = done / self.warm_up
        fall = 0.5 * (1 + tf.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up)))
        return self.peak * tf.where(done < self.warm_up, rise, fall)

    def get_config(self) -> dict[str, float]:
        """Say how to build it again."""
        return {"peak": self.peak, "steps": self.steps, "warm_up": self.warm_up}


class FusedBatchNorm(keras.layers.BatchNormalization):  # type: ignore[misc]  # keras is untyped
    """Batch normalisation in one kernel while training: 3.5 times Keras' own speed in bfloat16 on a CPU."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ANN401, FBT001
        """Normalise by the batch and move the averages, or by the averages."""
        if not training or len(inputs.shape) != IMAGE_DIMENSIONS:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return outputs


def augmented(images: NDArray[np.uint8], *, seed: int, epoch: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Shuffle, shift by up to 4 pixels over reflected borders, and flip; also give the order taken."""
    dice = np.random.default_rng([seed, epoch])
    order = dice.permutation(len(images))
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:3], axis=(1, 2))
    top, left = dice.integers(0, 9, size=(2, len(images)))
    shifted = windows[order, top, left].transpose(0, 2, 3, 1)
    flip = dice.random(len(images)) < FLIPPED
    return np.where(flip[:, None, None, None], shifted[:, :, ::-1], shifted), order


class Steps(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Tell after each batch."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002 - Keras' own signature
        """See Keras."""
        self._tell()


class Training:
    """One network on its way from seed to weights, kept in ``folder`` between epochs.

    Raises:
        ConfigError: the folder cannot be used: not writable, damaged, or of another recipe.
    """

    def __init__(self, recipe: Recipe, folder: Path, *, train: Split, test: Split) -> None:
        self.recipe, self.folder = recipe, folder
        make_folder(folder)
        self.diary, self.picture = folder / "diary.json", folder / "curve.svg"
        self.epochs_done = self._kept_epochs()
        self.train_images, self.train_labels = np.array(train.images), train.labels
        self.test_images, self.test_labels = np.array(test.images), test.labels
        self.classes = len(dataset.CLASSES)
        self.steps = math.ceil(len(self.train_images) / recipe.batch)
        """Of one epoch."""
        self.model = self._fresh()
        if self.epochs_done:
            self._restore(self._state(len(self.epochs_done)))

    def _kept_epochs(self) -> list[dict[str, float]]:
        if not self.diary.exists():
            return []
        try:
            kept = json.loads(self.diary.read_text())
            recipe, epochs = kept["recipe"], kept["epochs"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{self.diary} is no training's diary; name another --folder") from error
        mine = asdict(self.recipe)
        differ = sorted(name for name in mine | recipe if mine.get(name) != recipe.get(name))
        if differ:
            theirs = ", ".join(f"{name} {recipe.get(name)}" for name in differ)
            raise ConfigError(
                f"{self.folder} keeps a training with {theirs}; name another --folder, or remove it to begin anew"
            )
        return list(epochs)

    def _variables(self) -> list[Any]:
        """List everything that an epoch changes: weights, averages, momenta, the step, dropout's dice."""
        model = self.model
        return [*model.weights, *model.optimizer.variables, *(one for one in model.variables if "seed" in one.path)]

    def _restore(self, state: Path) -> None:
        # Not Keras' own loader: it forgets which variables are excluded from weight decay.
        try:
            with state.open("rb") as file, np.load(file) as kept:  # one that NumPy opened would stay open if damaged
                for number, variable in enumerate(self._variables()):
                    variable.assign(kept[f"arr_{number}"])
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ConfigError(f"{state} is damaged; remove {self.folder} to begin anew") from error

    def _fresh(self) -> keras.Model:
        recipe = self.recipe
        keras.utils.set_random_seed(recipe.seed)
        tf.config.experimental.enable_op_determinism()
        keras.mixed_precision.set_global_policy(recipe.precision)
        model = NETWORKS[recipe.network](batch_norm=FusedBatchNorm)
        optimizer = keras.optimizers.SGD(
            OneCycle(peak=recipe.peak_rate, steps=recipe.epochs * self.steps, warm_up=recipe.warm_up),
            momentum=recipe.momentum,
            nesterov=True,
            weight_decay=recipe.weight_decay,
        )
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
        model.compile(optimizer, loss, metrics=["accuracy"])
        optimizer.build(model.trainable_variables)
        return model

    def _state(self, epochs: int) -> Path:
        return self.folder / f"after-{epochs:03}.npz"

    def epoch(self, *, each_step: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Train one more epoch and keep it, whole or not at all."""
        number = len(self.epochs_done) + 1
        started_ns = CLOCK.ticks_ns()
        images, order = augmented(self.train_images, seed=self.recipe.seed, epoch=number)
        targets = np.eye(self.classes, dtype=np.float32)
        history = self.model.fit(
            images,
            targets[self.train_labels[order]],
            batch_size=self.recipe.batch,
            shuffle=False,
            verbose=0,
            callbacks=[Steps(each_step)],
        ).history
        loss, accuracy = self.model.evaluate(self.test_images, targets[self.test_labels], batch_size=500, verbose=0)
        done = {
            "epoch": number,
            "train_accuracy": round(float(history["accuracy"][-1]), 4),
            "test_accuracy": round(float(accuracy), 4),
            "test_loss": round(float(loss), 4),
            "wall_s": round((CLOCK.ticks_ns() - started_ns) / SECOND_NS, 1),
        }
        try:
            self._keep([*self.epochs_done, done])
        except OSError as error:
            raise MissingError(f"{self.folder} does not take epoch {number}: {error.strerror}") from error
        self.epochs_done.append(done)
        return done

    def _keep(self, epochs: list[dict[str, float]]) -> None:
        number = len(epochs)
        np.savez(self._state(number), *map(np.asarray, self._variables()))  # 1. The state is there ...
        partial = self.diary.with_suffix(".part")
        partial.write_text(json.dumps({"recipe": asdict(self.recipe), "epochs": epochs}, indent=1))
        partial.replace(self.diary)  # 2. ... so the diary may name it, and the one before may go.
        self._state(number - 1).unlink(missing_ok=True)
        self.draw(self.picture, epochs)

    def draw(self, place: Path, epochs: list[dict[str, float]]) -> None:
        """Draw the curve."""
        curve.draw(place, network=self.recipe.network, epochs=epochs, of=self.recipe.epochs)

    def export(self, weights: Path) -> Card:
        """Write the model file that ships, float32 with ordinary layers, its card and its curve."""
        keras.mixed_precision.set_global_policy("float32")
        model = NETWORKS[self.recipe.network]()
        model.set_weights(self.model.get_weights())
        weights.parent.mkdir(parents=True, exist_ok=True)
        model.save(weights)
        self.draw(weights.with_suffix(".svg"), self.epochs_done)
        predicted = model.predict(self.test_images, batch_size=500, verbose=0).argmax(axis=1)
        return write(
            weights,
            name=self.recipe.network,
            weights_sha256=weights_sha256(keras_weights(model)),
            parameters=model.count_params(),
            correct=int((predicted == self.test_labels).sum()),
            images=len(self.test_labels),
            recipe=asdict(self.recipe),
            epochs=self.epochs_done,
            trained_with={
                "command": command(self.recipe),
                "keras": keras.__version__,
                "tensorflow": tf.__version__,
                "python": platform.python_version(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
                "devices": [device.device_type for device in tf.config.list_physical_devices()],
            },
        )


def command(recipe: Recipe) -> str:
    """Say how to train it again."""
    return f"edgewise models train {recipe.network} --epochs {recipe.epochs} --seed {recipe.seed}"


def run_train(recipe: Recipe, *, folder: Path | None, out: Path | None) -> None:
    """Train to the end, going on from where an earlier call was stopped, and write the model.

    Raises:
        ConfigError: a folder cannot be used; nothing was trained.
        MissingError: no data set, or no room.
    """
    folder = folder or Path("training") / f"{recipe.network}-{recipe.epochs}-{recipe.seed}"
    out = out or Path("models") / "weights" / f"{recipe.network}.keras"
    if out.suffix != ".keras":
        raise ConfigError(f"--out {out}: a model file's name ends in .keras")
    make_folder(out.parent)
    make_folder(folder)
    with alone(folder):
        training = Training(recipe, folder, train=dataset.load("train", say=say), test=dataset.load("test", say=say))
        say(f"training {recipe.network} on {device()}; the curve is {training.picture}")
        try:
            to_the_end(training)
        except KeyboardInterrupt:
            say(f"stopped; the same command goes on after epoch {len(training.epochs_done)}")
            raise
        card = training.export(out)
    say(f"{card.name}: {card.correct:,} of {card.images:,} test images, {card.identity}; written to {out}")


def to_the_end(training: Training) -> None:
    """Train the epochs that are missing; say after each how good it is and how long the rest takes."""
    epochs, done = training.recipe.epochs, len(training.epochs_done)
    if done:
        say(f"going on after epoch {done} of {epochs}")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console) as progress:
        total, before = epochs * training.steps, done * training.steps
        task = progress.add_task(f"{training.recipe.network}, {epochs} epochs", total=total, completed=before)
        while len(training.epochs_done) < epochs:
            last = training.epoch(each_step=lambda: progress.advance(task))
            left_min = (epochs - last["epoch"]) * last["wall_s"] / MINUTE_S
            console.print(
                f"epoch {last['epoch']} of {epochs}: test {last['test_accuracy']:.2%}, train "
                f"{last['train_accuracy']:.2%}, {last['wall_s']:.0f} s, about {left_min:,.0f} min left"
            )


def device() -> str:
    """Say what computes."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"the CPU, {os.cpu_count()} cores"
    return f"GPU {tf.config.experimental.get_device_details(gpus[0]).get('device_name', gpus[0].name)}"


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there.

    Raises:
        ConfigError: it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}; name another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder} is not writable; name another folder")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second training out of a folder; the lock goes when its holder dies.

    Raises:
        ConfigError: another holds it.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another training is at work in {folder}; name another --folder") from error
        yield
