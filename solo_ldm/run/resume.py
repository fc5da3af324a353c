"""Where training continues: a checkpoint, read without running code from it, that fits the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig

from solo_ldm.run.folder import RunFolder


def checkpoint_to_resume(
    cfg: DictConfig, folder: RunFolder, module: pl.LightningModule, resume_from: str | None = None
) -> tuple[str, int] | None:
    """Find the checkpoint to continue from, which the module fits.

    It is the configured one (`resume_from`), or the folder's last.

    Returns:
        Its path and the first epoch that is still to be trained; None to start from the beginning.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it is of another architecture or has been trained for longer than asked.
    """
    path = resume_from
    if path is None:
        if not (cfg.auto_resume.enabled and folder.last.exists()):
            return None
        path = str(folder.last)
    checkpoint = load_checkpoint(path)
    module.on_load_checkpoint(checkpoint)
    check_fits(module, checkpoint, path)
    epoch = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    if epoch > cfg.max_epochs:
        raise ValueError(
            f"{path} was trained for {epoch} epochs already, max_epochs is {cfg.max_epochs}: "
            f"raise max_epochs above {epoch}"
        )
    return path, epoch


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, without running code from it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no checkpoint of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: check resume_from_checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a checkpoint ({reason})") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "loops"} <= checkpoint.keys():
        raise ValueError(f"{path} is no training checkpoint: it holds no state_dict and loops")
    return checkpoint


def check_fits(module: torch.nn.Module, checkpoint: dict[str, Any], path: str | Path) -> None:
    """Raise a one-line ValueError unless the checkpoint's weights fit the module's."""
    own = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    theirs = {key: tuple(value.shape) for key, value in checkpoint["state_dict"].items()}
    differing = [k for k in {**own, **theirs} if own.get(k) != theirs.get(k)]
    if differing:
        key = differing[0]
        raise ValueError(
            f"{path} is a checkpoint of another architecture: {len(differing)} weights differ, "
            f"first {key} (expected {own.get(key, 'none')}, got {theirs.get(key, 'none')}); "
            "configure the run as the args.json beside it says"
        )
