"""How training ends at a signal, and when another process of a distributed run is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from solo_ldm.config.interruption import rearm
from solo_ldm.run.folder import RunFolder


class LostProcessError(ValueError):
    """Another process of a distributed run has ended."""


class EndAtSignals(Callback):
    """Let signals end training as they end a command, in one process or in several.

    Lightning would wait for the end of a step at SIGTERM, with a collective operation that other
    processes may never join, ignore a second Ctrl-C, and save in the middle of an epoch at Slurm's
    SIGUSR1, with such an operation, too.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's handlers."""
        rearm()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let a second signal end the process while the first one is worked on."""
        rearm()


def forget_slurms_checkpoints(folder: RunFolder) -> None:
    """Remove what Lightning saves at Slurm's SIGUSR1 outside of commands, in an epoch.

    A run without a last.ckpt would continue from it, in the middle of an epoch whose images are
    then drawn from the beginning; all else continues at the end of an epoch.
    """
    for path in folder.path.glob("hpc_ckpt_*.ckpt"):
        path.unlink()


@contextmanager
def ended_as_a_command(trainer: pl.Trainer) -> Iterator[None]:
    """Raise what ends training as what a command reports in one line.

    Raises:
        KeyboardInterrupt: at Ctrl-C and SIGTERM, for which Lightning leaves the interpreter.
        LostProcessError: in one line: another process is gone.
    """
    try:
        yield
    except SIGTERMException as exit:
        raise SystemExit(143) from exit
    except SystemExit as exit:
        if isinstance(exit.__context__, KeyboardInterrupt):
            raise exit.__context__ from None
        raise
    except RuntimeError as error:
        if trainer.world_size == 1 or not _is_of_communication(error):
            raise
        kill = getattr(trainer.strategy.launcher, "kill", None)
        if kill is not None:
            kill(9)
        reason = " ".join(str(error).split())[:160]
        raise LostProcessError(
            f"another of the {trainer.world_size} processes has ended ({reason}); the same command "
            "continues from the last checkpoint"
        ) from error


def _is_of_communication(error: RuntimeError) -> bool:
    said = str(error)
    return isinstance(error, dist.DistError) or any(
        name in said for name in ("gloo", "NCCL", "Connection")
    )
