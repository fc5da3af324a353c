"""Where training continues: a checkpoint, read without running code from it, that fits the run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig

from solo_ldm.files import check_archive, check_recorded
from solo_ldm.run.changes import changed_data, changed_keys, configuration_of
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.optimizer_state import check_optimizer_state

# Changed keys in the line that names them.
_MOST_SAID = 3
# The weight of a method's online classifier, (classes, features).
_CLASSIFIER = "classifier.weight"


@dataclass(frozen=True)
class Continuation:
    """A checkpoint to continue from.

    Args:
        path: of the checkpoint.
        epoch: epochs that were trained; the first that is still to be trained.
        origins: for results.json, one entry for each checkpoint of another run that this one comes
            from: "checkpoint", its "epoch", and "changed", (before, now) by the keys of the
            configuration that differed, None where that of the checkpoint is not known.
        notices: lines that say what is unusual about it.
    """

    path: str
    epoch: int
    origins: list[dict[str, Any]]
    notices: tuple[str, ...] = ()


def checkpoint_to_resume(
    cfg: DictConfig, folder: RunFolder, module: pl.LightningModule, resume_from: str | None = None
) -> Continuation | None:
    """Find the checkpoint to continue from, which the module and its optimiser fit.

    It is the configured one (`resume_from`), or the folder's last where that is further on.

    Returns:
        None to start from the beginning.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: in one line: it is damaged, of another architecture or optimiser, or has been
            trained for all the epochs that are asked for.
    """
    own = str(folder.last) if cfg.auto_resume.enabled and folder.last.exists() else None
    if own and resume_from and folder.last.resolve() == Path(resume_from).resolve():
        resume_from = None
    found = [] if resume_from is None else [_read(resume_from, module, cfg, folder)]
    if own is not None:
        try:
            found.append(_read(own, module, cfg, folder))
        except ValueError as error:
            best = f"set resume_from_checkpoint={folder.best}, or " if folder.best.exists() else ""
            raise ValueError(f"{error}; {best}remove it to begin anew") from error
    if len(found) == 2 and found[1].epoch > found[0].epoch:
        newer = f"{own} of the same run is newer than {resume_from} and is continued instead"
        return replace(found[1], notices=(newer,))
    if not found or resume_from is None:
        return found[0] if found else None
    changed = _changed(resume_from, cfg, folder)
    origin = {"checkpoint": cfg.resume_from_checkpoint, "epoch": found[0].epoch, "changed": changed}
    notices = (*found[0].notices, _said(changed))
    return replace(found[0], origins=[*found[0].origins, origin], notices=notices)


def _read(
    path: str, module: pl.LightningModule, cfg: DictConfig, folder: RunFolder
) -> Continuation:
    checkpoint = load_checkpoint(path)
    before = checkpoint["state_dict"].get(_CLASSIFIER)
    module.on_load_checkpoint(checkpoint)
    now = checkpoint["state_dict"].get(_CLASSIFIER)
    check_fits(module, checkpoint, path, _said(_changed(path, cfg, folder)))
    check_optimizer_state(module, checkpoint, path)
    epoch = epochs_done(checkpoint, path)
    # All epochs of the run itself may be trained: then it is evaluated.
    if epoch >= cfg.max_epochs + (path == str(folder.last)):
        raise ValueError(
            f"max_epochs: expected more than the {epoch} epochs that {path} was trained for, got "
            f"{cfg.max_epochs}; set it above {epoch}"
        )
    sizes = ["none" if one is None else f"one of {len(one)} classes" for one in (before, now)]
    renewed = (
        f"the online classifier begins anew: {path} holds {sizes[0]}, the data takes {sizes[1]}"
    )
    notices = () if before is now else (renewed,)
    return Continuation(path, epoch, list(checkpoint.get("origins", [])), notices)


def _changed(path: str, cfg: DictConfig, folder: RunFolder) -> dict[str, list[Any]] | None:
    before = configuration_of(path)
    if before is None:
        return None
    data = changed_data(path, folder)
    return {**({} if data is None else {"data": data}), **changed_keys(before, cfg, folder)}


def _said(changed: dict[str, Any] | None) -> str:
    if changed is None:
        return "no args.json beside it: what changed is not known"
    changes = [f"{key} {_plain(old)} → {_plain(new)}" for key, (old, new) in changed.items()]
    more = len(changes) - _MOST_SAID
    said = [*changes[:_MOST_SAID], *([f"{more} more"] if more > 0 else [])]
    return f"changed: {', '.join(said) or 'nothing'}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, without running code from it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged or no checkpoint of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: check resume_from_checkpoint")
    check_recorded(path)
    check_archive(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} cannot be read as a checkpoint ({reason})") from error
    needed = {"state_dict": dict, "loops": dict, "callbacks": dict}
    for key, kind in {**needed, "pytorch-lightning_version": str}.items():
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(key), kind):
            raise ValueError(f"{path} is no training checkpoint: it holds no {key}")
    for key, value in checkpoint["state_dict"].items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{path} is no training checkpoint: {key} is no tensor")
    return checkpoint


def check_fits(
    module: torch.nn.Module, checkpoint: dict[str, Any], path: str | Path, reason: str = ""
) -> None:
    """Raise a one-line ValueError unless the checkpoint's weights fit the module's.

    Args:
        module: to load them into.
        checkpoint: as `load_checkpoint` returns it.
        path: of the checkpoint, for messages.
        reason: why they may not fit, for messages.
    """
    own = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    theirs = {key: tuple(value.shape) for key, value in checkpoint["state_dict"].items()}
    differing = [k for k in {**own, **theirs} if own.get(k) != theirs.get(k)]
    if differing:
        key = differing[0]
        raise ValueError(
            f"{path} is a checkpoint of another architecture: {len(differing)} weights differ, "
            f"first {key} (expected {own.get(key, 'none')}, got {theirs.get(key, 'none')}); "
            f"{f'{reason}; ' if reason else ''}configure the run as the args.json beside it says"
        )
    for key, _ in module.named_parameters():
        if not checkpoint["state_dict"][key].isfinite().all():
            raise ValueError(f"{path}: expected finite weights, got others in {key}")


def epochs_done(checkpoint: dict[str, Any], path: str | Path) -> int:
    """Return how many epochs a checkpoint was trained for.

    Raises:
        ValueError: in one line: it does not say so, or was written in the middle of an epoch.
    """
    try:
        loop = checkpoint["loops"]["fit_loop"]
        epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
        begun, done, ended = epochs["ready"], epochs["processed"], batches["is_last_batch"]
    except (KeyError, TypeError):
        begun = done = ended = None
    if not isinstance(begun, int) or not isinstance(done, int) or min(begun, done) < 0:
        raise ValueError(
            f"{path} does not say how many epochs it was trained for (loops): expected a last.ckpt "
            "as training writes it"
        )
    # Lightning's own checkpoints are written before it counts the epoch that has ended.
    if begun != done and not (ended and begun == done + 1):
        raise ValueError(
            f"{path} was written in the middle of epoch {begun}: expected a checkpoint of the end "
            "of one"
        )
    return begun
