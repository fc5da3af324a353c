"""Methods on lightly's losses and heads, as `method: lightly/NAME`.

Nothing of lightly is rewritten: a recipe names a loss of `lightly.loss` and heads of
`lightly.models.modules`, and passes the views as lightly's examples and benchmarks do. A setting
has solo-learn's name where solo-learn has one, else lightly's; its default is the paper's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from lightly.models.modules import NNMemoryBankModule, heads
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import nn

from solo_ldm.methods.lightly import comparisons
from solo_ldm.methods.lightly.parts import Leading, Recipe, Settings


def _widths(hidden: int, output: int, predictor: int | None = None) -> dict[str, Any]:
    """Return the settings of a projector and, if its width is given, a predictor."""
    widths = {"proj_hidden_dim": hidden, "proj_output_dim": output}
    return widths if predictor is None else {**widths, "pred_hidden_dim": predictor}


def _average(first: float, last: float) -> dict[str, Any]:
    """Return the settings of a moving average."""
    return {"base_tau": first, "final_tau": last}


def _queue_each_view(settings: Settings) -> nn.Module | None:
    """Return a queue of projections for each of the two large views, or None for size 0."""
    if not settings["queue_size"]:
        return None
    size = (settings["queue_size"], settings["proj_output_dim"])
    return nn.ModuleList([MemoryBankModule(size) for _ in range(2)])


def _check_whitening(settings: Settings, batch_size: int) -> str | None:
    """Return what keeps W-MSE from whitening parts of a batch, or None."""
    size, dim = settings["whitening_size"], settings["proj_output_dim"]
    if size < 2 * dim:
        return (
            f"method_kwargs.whitening_size: expected at least {2 * dim}, twice "
            f"method_kwargs.proj_output_dim, got {size}"
        )
    if batch_size % size:
        return (
            f"optimizer.batch_size: expected a multiple of {size} (method_kwargs.whitening_size), "
            f"got {batch_size}"
        )
    return None


RECIPES: dict[str, Recipe] = {
    "simclr": Recipe(
        loss="NTXentLoss",
        source="Chen et al., SimCLR, arXiv 2002.05709",
        settings={**_widths(2048, 128), "temperature": 0.1},
        projector=heads.SimCLRProjectionHead,
        compare=comparisons.two_views,
    ),
    "dcl": Recipe(
        loss="DCLLoss",
        source="Yeh et al., Decoupled Contrastive Learning, arXiv 2110.06848",
        settings={**_widths(2048, 128), "temperature": 0.1},
        projector=heads.SimCLRProjectionHead,
        compare=comparisons.two_views,
    ),
    "dclw": Recipe(
        loss="DCLWLoss",
        source="Yeh et al., Decoupled Contrastive Learning, arXiv 2110.06848",
        settings={**_widths(2048, 128), "temperature": 0.1, "sigma": 0.5},
        projector=heads.SimCLRProjectionHead,
        compare=comparisons.two_views,
    ),
    "macl": Recipe(
        loss="MACLLoss",
        source="Huang et al., Model-Aware Contrastive Learning, arXiv 2207.07874",
        settings={**_widths(2048, 128), "temperature": 0.1, "alpha": 0.5, "A_0": 0.0},
        projector=heads.SimCLRProjectionHead,
        compare=comparisons.two_views,
    ),
    "directclr": Recipe(
        loss="DirectCLRLoss",
        source="Jing et al., DirectCLR, arXiv 2110.09348",
        settings={"loss_dim": 360, "temperature": 0.1},
        projector=Leading,
        compare=comparisons.two_views,
    ),
    "moco": Recipe(
        loss="NTXentLoss",
        source="Chen et al., MoCo v2, arXiv 2003.04297",
        settings={
            **_widths(2048, 128),
            "temperature": 0.2,
            "queue_size": 65536,
            **_average(0.999, 0.999),
        },
        projector=heads.MoCoProjectionHead,
        compare=comparisons.one_way,
        names={"memory_bank_size": ("queue_size", "proj_output_dim")},
    ),
    "nnclr": Recipe(
        loss="NTXentLoss",
        source="Dwibedi et al., NNCLR, arXiv 2104.14548",
        settings={**_widths(2048, 256, 4096), "temperature": 0.1, "queue_size": 98304},
        projector=heads.NNCLRProjectionHead,
        predictor=heads.NNCLRPredictionHead,
        memory=lambda s: NNMemoryBankModule((s["queue_size"], s["proj_output_dim"])),
        compare=comparisons.neighbours,
    ),
    "byol": Recipe(
        loss="NegativeCosineSimilarity",
        source="Grill et al., BYOL, arXiv 2006.07733",
        settings={**_widths(4096, 256, 4096), **_average(0.996, 1.0)},
        projector=heads.BYOLProjectionHead,
        predictor=heads.BYOLPredictionHead,
        compare=comparisons.averaged_views,
    ),
    "simsiam": Recipe(
        loss="NegativeCosineSimilarity",
        source="Chen and He, SimSiam, arXiv 2011.10566",
        settings=_widths(2048, 2048, 512),
        projector=heads.SimSiamProjectionHead,
        predictor=heads.SimSiamPredictionHead,
        compare=comparisons.detached_views,
    ),
    "barlow_twins": Recipe(
        loss="BarlowTwinsLoss",
        source="Zbontar et al., Barlow Twins, arXiv 2103.03230",
        settings={**_widths(8192, 8192), "lamb": 0.005},
        projector=heads.BarlowTwinsProjectionHead,
        compare=comparisons.two_views,
        names={"lambda_param": "lamb"},
        on_sphere=False,
    ),
    "vicreg": Recipe(
        loss="VICRegLoss",
        source="Bardes et al., VICReg, arXiv 2105.04906",
        settings={
            **_widths(8192, 8192),
            "sim_loss_weight": 25.0,
            "var_loss_weight": 25.0,
            "cov_loss_weight": 1.0,
        },
        projector=heads.VICRegProjectionHead,
        compare=comparisons.two_views,
        names={
            "lambda_param": "sim_loss_weight",
            "mu_param": "var_loss_weight",
            "nu_param": "cov_loss_weight",
        },
        on_sphere=False,
    ),
    "tico": Recipe(
        loss="TiCoLoss",
        source="Zhu et al., TiCo, arXiv 2206.10698",
        settings={**_widths(4096, 256), "beta": 0.9, "rho": 8.0, **_average(0.99, 1.0)},
        projector=heads.TiCoProjectionHead,
        compare=comparisons.one_way,
    ),
    "wmse": Recipe(
        loss="WMSELoss",
        source="Ermolov et al., W-MSE, arXiv 2007.06346",
        settings={
            **_widths(1024, 64),
            "whitening_iters": 1,
            "whitening_size": 128,
            "whitening_eps": 0.0,
        },
        # lightly has no head named after W-MSE; BYOL's has the layers of the paper's.
        projector=heads.BYOLProjectionHead,
        compare=comparisons.joined_views,
        names={
            "embedding_dim": "proj_output_dim",
            "eps": "whitening_eps",
            "w_iter": "whitening_iters",
            "w_size": "whitening_size",
        },
        check=_check_whitening,
        on_sphere=False,
    ),
    "frossl": Recipe(
        loss="FroSSLLoss",
        source="Skean et al., FroSSL, arXiv 2310.02903",
        settings={**_widths(2048, 2048), "invariance_weight": 1.0},
        projector=partial(heads.VICRegProjectionHead, num_layers=2),
        compare=comparisons.listed_views,
        on_sphere=False,
        crops="large",
    ),
    "mmcr": Recipe(
        loss="MMCRLoss",
        source="Yerxa et al., MMCR, arXiv 2303.03307",
        settings={**_widths(8192, 512), "lmda": 0.005, **_average(0.996, 1.0)},
        projector=heads.MMCRProjectionHead,
        compare=comparisons.capacity,
        crops="large",
    ),
    "lejepa": Recipe(
        loss="LeJEPALoss",
        source="Balestriero and LeCun, LeJEPA, arXiv 2511.08544",
        settings={**_widths(2048, 64), "lambda_param": 0.05, "sigreg_num_vectors": 1024},
        projector=heads.LeJEPAProjectionHead,
        compare=comparisons.global_and_local_views,
        on_sphere=False,
        crops="multi",
    ),
    "visreg": Recipe(
        loss="VISRegLoss",
        source="Wu et al., VISReg, arXiv 2606.02572",
        settings={
            **_widths(2048, 64),
            "lambda_param": 0.9,
            "num_slices": 4096,
            "lambda_scale": 1.0,
            "lambda_shape": 1.0,
            "lambda_center": 1.0,
        },
        # lightly has no head of VISReg; its invariance is LeJEPA's.
        projector=heads.LeJEPAProjectionHead,
        compare=comparisons.global_and_local_views,
        on_sphere=False,
        crops="multi",
    ),
    "swav": Recipe(
        loss="SwaVLoss",
        source="Caron et al., SwAV, arXiv 2006.09882",
        settings={
            **_widths(2048, 128),
            "temperature": 0.1,
            "num_prototypes": 3000,
            "sk_iters": 3,
            "sk_epsilon": 0.05,
            "freeze_prototypes_epochs": 1,
            "queue_size": 0,
            "epoch_queue_starts": 15,
        },
        projector=heads.SwaVProjectionHead,
        prototypes=heads.SwaVPrototypes,
        memory=_queue_each_view,
        compare=comparisons.assignments,
        names={"sinkhorn_iterations": "sk_iters", "sinkhorn_epsilon": "sk_epsilon"},
        after_backward=comparisons.hold_prototypes,
        crops="multi",
    ),
    "dino": Recipe(
        loss="DINOLoss",
        source="Caron et al., DINO, arXiv 2104.14294",
        settings={
            **_widths(2048, 256),
            "num_prototypes": 65536,
            "use_bn_in_head": False,
            "norm_last_layer": True,
            "freeze_last_layer": 1,
            "student_temperature": 0.1,
            "warmup_teacher_temperature": 0.04,
            "teacher_temperature": 0.07,
            "warmup_teacher_temperature_epochs": 30,
            "center_momentum": 0.9,
            **_average(0.996, 1.0),
        },
        projector=heads.DINOProjectionHead,
        compare=comparisons.distillation,
        names={
            "bottleneck_dim": "proj_output_dim",
            "output_dim": "num_prototypes",
            "batch_norm": "use_bn_in_head",
            "warmup_teacher_temp": "warmup_teacher_temperature",
            "teacher_temp": "teacher_temperature",
            "warmup_teacher_temp_epochs": "warmup_teacher_temperature_epochs",
            "student_temp": "student_temperature",
        },
        after_backward=comparisons.hold_last_layer,
        on_sphere=False,
        crops="multi",
    ),
}
