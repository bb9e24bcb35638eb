"""Where a run's curves are drawn: TensorBoard's files, and Weights & Biases where asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch.utils.tensorboard import SummaryWriter

from ingot.errors import ResourceError, UsageError
from ingot.training.config.wandb import WandbConfig

_PATIENCE_S = 60.0  # for Weights & Biases to answer as the run begins
_UPLOAD_S = 120.0  # at its end; what is left then stays on disk, for ``wandb sync``
_STEP = "update"  # of its own steps none may come twice, and a resumed run goes back


class Tracker(Protocol):
    """Draws curves."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Take the next value of some curves."""

    def text(self, name: str, text: str, step: int) -> None:
        """Take a text."""

    def close(self) -> None:
        """Write what is left."""


def open_trackers(
    run: Path, config: WandbConfig, recipe: Mapping[str, Any], *, from_step: int
) -> list[Tracker]:
    """Open the trackers of a run; curves continue at ``from_step``.

    Raises:
        UsageError: Weights & Biases is asked for and not installed.
        ResourceError: it does not begin, such as for want of a key.
    """
    trackers: list[Tracker] = [TensorBoard(run, from_step)]
    if config.mode != "off":
        trackers.append(WeightsAndBiases(run, config, recipe))
    return trackers


class TensorBoard:
    """Files in ``RUN/tensorboard``; what they hold past ``from_step`` is hidden."""

    def __init__(self, run: Path, from_step: int) -> None:
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=from_step + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Take the next value of some curves."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def text(self, name: str, text: str, step: int) -> None:
        """Take a text."""
        self._writer.add_text(name, text, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WeightsAndBiases:
    """One run there for one folder here, however often it is resumed."""

    def __init__(self, run: Path, config: WandbConfig, recipe: Mapping[str, Any]) -> None:
        try:
            import wandb  # noqa: PLC0415  an optional package, and heavy
        except ModuleNotFoundError as error:
            raise UsageError(
                "needs a package that is not installed",
                where="wandb.mode",
                fix="pip install 'ingot[wandb]'",
            ) from error
        settings = wandb.Settings(
            console="off", silent=True, init_timeout=_PATIENCE_S, finish_timeout=_UPLOAD_S
        )
        path = run.resolve()
        try:
            self._run = wandb.init(
                project=config.project,
                name=run.name,
                id=hashlib.sha256(str(path).encode()).hexdigest()[:16],
                resume="allow",
                dir=str(path),
                mode="offline" if config.mode == "offline" else "online",
                config=dict(recipe),
                settings=settings,
            )
        except (wandb.Error, OSError) as error:
            raise ResourceError(
                f"does not begin ({' '.join(str(error).split())})",
                where="Weights & Biases",
                fix="wandb login, or --set wandb.mode=offline",
            ) from error
        self._run.define_metric("*", step_metric=_STEP)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Take the next value of some curves."""
        self._run.log({**values, _STEP: step})

    def text(self, name: str, text: str, step: int) -> None:
        """Take a text."""
        self._run.log({name: text, _STEP: step})

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()
