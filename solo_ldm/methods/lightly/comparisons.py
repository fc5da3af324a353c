"""What each loss of lightly compares: functions that return the loss of one step, a scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_ldm.methods.lightly.parts import Parts, Views


def two_views(parts: Parts, views: Views) -> Tensor:
    """Compare the two views; the loss is symmetric by itself."""
    return parts.measure(*views.z)


def listed_views(parts: Parts, views: Views) -> Tensor:
    """Compare a list of views."""
    return parts.measure(views.z)


def joined_views(parts: Parts, views: Views) -> Tensor:
    """Compare views that are concatenated along the batch: W-MSE."""
    return parts.measure(torch.cat(views.z))


def global_and_local_views(parts: Parts, views: Views) -> Tensor:
    """Compare all views with the mean of the large ones: LeJEPA and VISReg."""
    large = torch.stack(views.z[: views.num_large])
    # LeJEPALoss needs a local view. Both losses are means over views: the large ones, given as
    # local ones as well, change nothing.
    small = torch.stack(views.z[views.num_large :]) if len(views.z) > views.num_large else large
    return parts.measure(local_proj=small, global_proj=large)


def detached_views(parts: Parts, views: Views) -> Tensor:
    """Compare each view's prediction with the other view, detached: SimSiam."""
    return _swapped(parts, views, [z.detach() for z in views.z])


def averaged_views(parts: Parts, views: Views) -> Tensor:
    """Compare each view's prediction with the moving average's of the other: BYOL."""
    return _swapped(parts, views, [views.target(0), views.target(1)])


def neighbours(parts: Parts, views: Views) -> Tensor:
    """Compare each view's prediction with the queue's nearest to the other view: NNCLR.

    As in lightly's example, the second view goes into the queue.
    """
    near = [parts.memory(z.detach().float(), update=i == 1) for i, z in enumerate(views.z)]
    return _swapped(parts, views, near)


def one_way(parts: Parts, views: Views) -> Tensor:
    """Compare the first view with the moving average's of the second: MoCo and TiCo."""
    return parts.measure(views.z[0], views.target(1))


def capacity(parts: Parts, views: Views) -> Tensor:
    """Compare all views with the moving average's of all, as points on the unit sphere: MMCR.

    The sphere is the paper's. lightly's example leaves it out: the loss then has no lower bound, as
    it falls with the scale of its inputs.
    """
    averages = [views.target(i) for i in range(views.num_large)]
    stacked = [torch.stack(z, dim=1).float() for z in (views.z, averages)]
    return parts.measure(*(F.normalize(z, dim=-1) for z in stacked))


def distillation(parts: Parts, views: Views) -> Tensor:
    """Compare all views with the moving average's of the large ones: DINO."""
    averages = [views.target(i) for i in range(views.num_large)]
    return parts.measure(averages, views.z, epoch=views.epoch)


def assignments(parts: Parts, views: Views) -> Tensor:
    """Predict the prototypes of one view from the others: SwAV.

    Queues, where there are any, fill with the large views from the start and join the assignment
    from the epoch `epoch_queue_starts`.
    """
    parts.prototypes.normalize()
    directions = [F.normalize(z.float(), dim=1) for z in views.z]
    large = directions[: views.num_large]
    queued = None
    if parts.memory is not None:
        kept = [queue(z, update=True)[1].T for queue, z in zip(parts.memory, large, strict=True)]
        if views.epoch >= parts.settings["epoch_queue_starts"]:
            with torch.no_grad():
                queued = [parts.prototypes(z) for z in kept]
    similarities = [parts.prototypes(z) for z in directions]
    return parts.measure(similarities[: views.num_large], similarities[views.num_large :], queued)


def hold_last_layer(parts: Parts, epoch: int) -> None:
    """Keep DINO's last layer fixed in the first epochs."""
    parts.projector.cancel_last_layer_gradients(epoch)  # pyright: ignore


def hold_prototypes(parts: Parts, epoch: int) -> None:
    """Keep SwAV's prototypes fixed in the first epochs.

    lightly sets requires_grad to False, but distributed training waits for every gradient.
    """
    if epoch < parts.settings["freeze_prototypes_epochs"]:
        for parameter in parts.prototypes.parameters():
            parameter.grad = None


def _swapped(parts: Parts, views: Views, targets: list[Tensor]) -> Tensor:
    """Return the mean over both directions: a view's prediction against the other's target.

    The target comes first, as in lightly's examples; it matters to losses that are not symmetric.
    """
    p = [parts.predict(z) for z in views.z]
    return (parts.measure(targets[0], p[1]) + parts.measure(targets[1], p[0])) / 2
