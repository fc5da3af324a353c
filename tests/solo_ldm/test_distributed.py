"""Two processes with half a batch each are one process with the whole batch."""

from __future__ import annotations

import copy
import itertools
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from solo_ldm.distributed import by_rows, gather, smallest
from solo_ldm.entropy import ENTROPIES
from solo_ldm.methods import find_method
from solo_ldm.methods.ldm.whitening import Whitening
from tests.support.methods.cells import ON_SUPPORT
from tests.support.methods.clips import build as build_clips
from tests.support.methods.cross import build as build_cross
from tests.support.methods.cross import pairs
from tests.support.methods.masked import STEP, noise
from tests.support.methods.masked import build as build_masked
from tests.support.processes import launch
from tests.support.toy import plain, toy_config

PROCESSES = 2
Case = tuple[str, dict[str, Any]]


def cell(support: str, entropy: str, over: str, **method_kwargs: Any) -> Case:
    target = "detached" if entropy == "none" else "same"
    kwargs = {"entropy": entropy, "over": over, "target": target, **method_kwargs}
    return {"plane": "gaussprob", "sphere": "sphereprob"}[support], kwargs


# The samples are gathered before the objective: each estimator once on each support, under one of
# the three.
OVER = itertools.cycle(("joint", "marginal", "pooled"))
CASES: list[Case] = [
    *(cell(*names, over) for names, over in zip(ON_SUPPORT, OVER, strict=False)),
    cell("plane", "kernel", "joint", predictor="linear"),
    cell("sphere", "neighbour", "marginal", predictor="linear"),
    cell("plane", "logdet", "joint", target="moving_average"),
    *((preset, {}) for preset in ("simclr", "byol", "simsiam", "barlow_twins")),
    *((preset, {}) for preset in ("lejepa", "jepa", "directpred", "emp_ssl")),
    *((f"categorical{name}", {}) for name in ("", "_approximate", "_information")),
    ("wmse", {"proj_output_dim": 6}),
    ("ldm", {"latent": "prototypes", "num_prototypes": 5}),
    ("ldm", {"latent": "prototypes_plane", "num_prototypes": 5, "over": "joint"}),
    cell("sphere", "kernel", "marginal", similar_share=0.4, similar_weight=0.5),
    cell("plane", "kernel", "marginal", equivariance_weight=0.5, equivariance_samples=4),
    *(("gje", {"proj_output_dim": dim, "proj_output_whitening": True}) for dim in (3, 12)),
    (
        "product",
        {
            "proj_output_dim": 7,
            "blocks": [
                {"latent": "plane", "dim": 4, "entropy": "sliced"},
                {"latent": "sphere", "dim": 3, "entropy": "kernel"},
            ],
        },
    ),
]


MASKED_CASES = (
    ("ijepa", "method_kwargs.target=moving_average"),
    ("ijepa", "method_kwargs.target=same", "method_kwargs.entropy=kernel"),
    *((name,) for name in ("mae", "simmim", "maskfeat", "data2vec", "beit", "vjepa")),
)


@cache
def composed(name: str) -> dict[str, Any]:
    return plain(toy_config(Path("unused"), name=name))


class Loss(nn.Module):
    """A method's loss of three crops, as a module that can be wrapped for distributed training.

    Batch norm is in evaluation mode: sharing its statistics is torch's business, not ours. The
    objective, the predictor and whitening are in training mode, as they see the samples of all
    processes.
    """

    def __init__(self, name: str, method_kwargs: dict[str, Any]) -> None:
        super().__init__()
        cfg = copy.deepcopy(composed(name))
        cfg["method_kwargs"].update(proj_batch_norm=False, **method_kwargs)
        cfg["data"].update(num_classes=0, image_size=16, num_large_crops=2, num_small_crops=1)
        torch.manual_seed(0)
        self.method = find_method(cfg["method"])(OmegaConf.create(cfg)).double().eval()
        self.method.objective.train()
        if self.method.predictor is not None:
            self.method.predictor.train()
        for module in self.method.modules():
            if isinstance(module, Whitening):
                module.train()

    def forward(self, crops: list[Tensor]) -> Tensor:
        large = [self.method(crop)["z"] for crop in crops[:2]]
        small = [self.method.multicrop_forward(crop)["z"] for crop in crops[2:]]
        views = large + small
        loss = self.method.match(views, self.method.targets(crops, views)).loss
        extra = self.method.equivariance
        return loss if extra is None else loss + extra.of_step(self.method, crops, STEP).loss


class MaskedLoss(nn.Module):
    """The masked method's loss of images and their indexes."""

    def __init__(self, name: str, *overrides: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        method = build_clips() if name == "vjepa" else build_masked(*overrides, name=name)
        self.method: Any = method.double()
        if name == "beit":
            # A codebook is that of the first process, whatever the others would have found.
            rank = dist.get_rank() if dist.is_initialized() else 0
            self.method.targets.fitted.fill_(False)
            self.method.targets.prepare(lambda most: [(noise(most, seed=rank), None)], seed=0)
        self.method.classifier = None

    def forward(self, images: Tensor, indexes: Tensor) -> Tensor:
        kept, targets = self.method.draw_masks(indexes, STEP)
        return self.method.match(images, kept, targets)[0].loss


CROSS_CASES = (
    ("clip",),
    ("siglip",),
    ("clip", "method_kwargs.leave_one_out=true", "method_kwargs.predictor=linear"),
    ("clip", "method_kwargs.over=marginal", "method_kwargs.target=moving_average"),
)


class CrossLoss(nn.Module):
    """The loss of two views of images and of their captions, by their indexes."""

    def __init__(self, preset: str, *overrides: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.method = build_cross(*overrides, preset=preset).double()
        self.method.classifier = None

    def forward(self, images: Tensor, indexes: Tensor) -> Tensor:
        method, views = self.method, [images, images.flip(3)]
        tokens = method.draw_captions(indexes)
        z, text = [method(one)["z"] for one in views], method.encode(tokens)
        return method.match(z, text, method._targets(views, tokens, [*z, text])).loss


# Estimators whose cost is that of matrix products; more samples than dimensions and fewer.
SHARED = ("kernel", "neighbour", "logdet", "coding_rate", "redundancy", "sliced", "vicreg")
SAMPLES = {
    shape: torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for shape in ((32, 6), (16, 24))
}


def losses_and_inputs() -> list[tuple[nn.Module, tuple[Any, ...]]]:
    """Return every loss with its inputs of the whole batch."""
    generator = torch.Generator().manual_seed(1)

    def images(count: int, size: int, channels: int = 3) -> Tensor:
        shape = (count, channels, size, size)
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    crops = [images(16, size) for size in (16, 16, 8)]
    masked = images(16, 16), torch.arange(100, 116)
    clips = images(16, 16, channels=8), masked[1]
    return [
        *((Loss(*case), (crops,)) for case in CASES),
        *((CrossLoss(*case), pairs()) for case in CROSS_CASES),
        *((MaskedLoss(*case), clips if case[0] == "vjepa" else masked) for case in MASKED_CASES),
    ]


def value_and_gradients(loss: nn.Module, *inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
    value = loss(*inputs)
    value.backward()
    named = ((name.removeprefix("module."), p) for name, p in loss.named_parameters())
    return value.detach(), {name: p.grad.clone() for name, p in named if p.grad is not None}


def train_in_one_of_two_processes(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()

    def share(whole: Any) -> Any:
        if isinstance(whole, list):
            return [share(one) for one in whole]
        return whole.chunk(PROCESSES)[rank]

    results = [
        value_and_gradients(DistributedDataParallel(loss), *map(share, inputs))
        for loss, inputs in losses_and_inputs()
    ]
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> list[Any]:
    """What each of the two processes has of each loss, with what one process has."""
    folder = tmp_path_factory.mktemp("processes")
    launch(PROCESSES, train_in_one_of_two_processes, folder)
    ranks = [torch.load(folder / f"rank{rank}.pt") for rank in range(PROCESSES)]
    alone = [value_and_gradients(loss, *inputs) for loss, inputs in losses_and_inputs()]
    return list(zip((*CASES, *CROSS_CASES, *MASKED_CASES), *ranks, alone, strict=True))


def assert_gradients_are_those_of_one(case: Any, ranks: list[Any], alone: Any) -> None:
    for _, gradients in ranks:
        assert gradients.keys() == alone[1].keys()
        for name, expected in alone[1].items():
            torch.testing.assert_close(
                gradients[name], expected, atol=1e-9, rtol=1e-9, msg=f"{case} {name}"
            )


def test_two_processes_give_the_loss_and_gradients_of_one(both):
    for case, *ranks, alone in both[: -len(MASKED_CASES)]:
        for value, _ in ranks:
            torch.testing.assert_close(value, alone[0], atol=1e-9, rtol=0, msg=str(case))
        assert_gradients_are_those_of_one(case, ranks, alone)


def test_two_masked_processes_give_the_loss_and_gradients_of_one(both):
    """Masks and their sizes are those of the whole batch, whoever draws them."""
    for case, *ranks, alone in both[-len(MASKED_CASES) :]:
        mean = 0.5 * (ranks[0][0] + ranks[1][0])  # log p is the mean over a process's own patches
        torch.testing.assert_close(mean, alone[0], atol=1e-9, rtol=0, msg=str(case))
        assert_gradients_are_those_of_one(case, ranks, alone)


def test_without_processes_gathering_changes_nothing():
    z = torch.randn(3, 2)
    assert gather(z) is z
    assert smallest(3, z.device) == 3


def gather_in_one_of_two_processes(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    # Not contiguous, as latents of several views stacked are not.
    z = (torch.arange(8.0).view(4, 2).T + 100.0 * rank).requires_grad_()
    whole = gather(z)
    weights = torch.arange(16.0).view(4, 4) * 10.0**rank
    (gradient,) = torch.autograd.grad(whole, z, asked := weights.clone())
    assert torch.equal(asked, weights)  # others may use it too
    least = smallest(5 - rank, z.device)
    torch.save((whole.detach(), gradient, least), folder / f"rank{rank}.pt")
    dist.destroy_process_group()


def test_gathering_stacks_the_ranks_and_its_adjoint_sums_what_all_of_them_ask_for(tmp_path):
    launch(PROCESSES, gather_in_one_of_two_processes, tmp_path)
    own = torch.arange(8.0).view(4, 2).T
    asked = 11.0 * torch.arange(16.0).view(4, 4)
    for rank in range(PROCESSES):
        whole, gradient, least = torch.load(tmp_path / f"rank{rank}.pt")
        torch.testing.assert_close(whole, torch.cat([own, own + 100.0]))
        torch.testing.assert_close(gradient, asked[2 * rank : 2 * rank + 2])
        assert least == 4


def count_operations_in_one_of_four_processes(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    results = []
    for z in SAMPLES.values():
        own = z.chunk(4)[rank].clone().requires_grad_()
        for name in SHARED:
            with FlopCounterMode(display=False) as counter:
                with by_rows():
                    value = ENTROPIES[name]().marginal(gather(own))
                (gradient,) = torch.autograd.grad(value, own)
            results.append((counter.get_total_flops(), value.detach(), gradient))
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


def test_of_four_processes_each_does_a_quarter_of_the_products(tmp_path):
    launch(4, count_operations_in_one_of_four_processes, tmp_path)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(4)]
    cells = itertools.product(SAMPLES.values(), SHARED)
    for (z, name), *found in zip(cells, *ranks, strict=True):
        whole = z.clone().requires_grad_()
        with FlopCounterMode(display=False) as counter:
            value = ENTROPIES[name]().marginal(whole)
            (expected,) = torch.autograd.grad(value, whole)
        operations = counter.get_total_flops()
        assert operations > 0
        assert [one[0] for one in found] == [operations / 4] * 4, (name, z.shape)
        torch.testing.assert_close([one[1] for one in found], [value.detach()] * 4)
        # Data-parallel training averages what the processes have, each with its own samples.
        gradients = torch.cat([one[2] for one in found]) / 4
        torch.testing.assert_close(gradients, expected, atol=1e-12, rtol=1e-9)
