"""Two processes with different data are one process with the whole batch, for every cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from solo_ldm.distributed import gather
from solo_ldm.methods import find_method
from solo_ldm.methods.ldm.whitening import Whitening
from tests.support.cells import ALL_CELLS
from tests.support.toy import plain, toy_config

PROCESSES = 2
Case = tuple[str, dict[str, Any]]


def cell(support: str, entropy: str, over: str, **method_kwargs: Any) -> Case:
    target = "detached" if entropy == "none" else "same"
    kwargs = {"entropy": entropy, "over": over, "target": target, **method_kwargs}
    return {"plane": "gaussprob", "sphere": "sphereprob"}[support], kwargs


CASES: list[Case] = [
    *(cell(*names) for names in ALL_CELLS),
    cell("plane", "kernel", "joint", predictor="linear"),
    cell("sphere", "neighbour", "marginal", predictor="linear"),
    cell("plane", "logdet", "joint", target="moving_average"),
    *((preset, {}) for preset in ("simclr", "byol", "simsiam", "barlow_twins")),
    *((preset, {}) for preset in ("lejepa", "jepa", "directpred")),
    *((f"categorical{name}", {}) for name in ("", "_approximate", "_information")),
    ("wmse", {"proj_output_dim": 6}),
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


class Loss(nn.Module):
    """A method's loss of three crops, as a module that can be wrapped for distributed training.

    Batch norm is in evaluation mode: sharing its statistics is torch's business, not ours. The
    predictor and whitening are in training mode, as they see the samples of all processes.
    """

    def __init__(self, folder: Path, name: str, method_kwargs: dict[str, Any]) -> None:
        super().__init__()
        cfg = plain(toy_config(folder, name=name))
        cfg["method_kwargs"].update(proj_batch_norm=False, **method_kwargs)
        cfg["data"].update(num_classes=0, image_size=16, num_large_crops=2, num_small_crops=1)
        torch.manual_seed(0)
        self.method = find_method(cfg["method"])(OmegaConf.create(cfg)).double().eval()
        if self.method.predictor is not None:
            self.method.predictor.train()
        for module in self.method.modules():
            if isinstance(module, Whitening):
                module.train()

    def forward(self, crops: list[Tensor]) -> Tensor:
        large = [self.method(crop)["z"] for crop in crops[:2]]
        small = [self.method.multicrop_forward(crop)["z"] for crop in crops[2:]]
        views = large + small
        return self.method.match(views, self.method.targets(crops, views)).loss


def crops_of_the_whole_batch() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = (16, 16, 8)
    return [
        torch.randn(2 * 8, 3, size, size, dtype=torch.float64, generator=generator)
        for size in sizes
    ]


def loss_and_gradients(loss: nn.Module, crops: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    value = loss(crops)
    value.backward()
    named = ((name.removeprefix("module."), p) for name, p in loss.named_parameters())
    return value.detach(), {name: p.grad.clone() for name, p in named if p.grad is not None}


def train_in_one_of_two_processes(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES
    )
    results = []
    for case in CASES:
        wrapped = DistributedDataParallel(Loss(folder, *case), find_unused_parameters=False)
        shard = [crop.chunk(PROCESSES)[rank] for crop in crops_of_the_whole_batch()]
        results.append(loss_and_gradients(wrapped, shard))
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path):
    mp.spawn(train_in_one_of_two_processes, args=(tmp_path,), nprocs=PROCESSES)
    for rank in range(PROCESSES):
        for case, (value, gradients) in zip(
            CASES, torch.load(tmp_path / f"rank{rank}.pt"), strict=True
        ):
            expected_value, expected = loss_and_gradients(
                Loss(tmp_path, *case), crops_of_the_whole_batch()
            )
            torch.testing.assert_close(value, expected_value, atol=1e-9, rtol=0, msg=str(case))
            assert gradients.keys() == expected.keys()
            for name, gradient in expected.items():
                torch.testing.assert_close(
                    gradients[name], gradient, atol=1e-9, rtol=1e-9, msg=f"{case} {name}"
                )


def test_without_processes_gathering_changes_nothing():
    z = torch.randn(3, 2)
    assert gather(z) is z
