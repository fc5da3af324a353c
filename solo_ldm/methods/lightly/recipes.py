"""Methods on lightly's losses and heads, as `method: lightly/NAME`.

Nothing of lightly is rewritten: a recipe names a loss of `lightly.loss` and heads of
`lightly.models.modules`, and hands the views over as lightly's examples and benchmarks do. A
setting has solo-learn's name where solo-learn has one, else lightly's; its default is the paper's.
"""

from __future__ import annotations

from lightly import loss as losses
from lightly.models.modules import NNMemoryBankModule, heads

from solo_ldm.methods.lightly import comparisons
from solo_ldm.methods.lightly.builders import (
    GATHER,
    average,
    check_whitening,
    first_features,
    predictor,
    projector,
    queue_each_view,
    tico_loss,
    widths,
)
from solo_ldm.methods.lightly.parts import Recipe

RECIPES: dict[str, Recipe] = {
    "simclr": Recipe(
        loss="NTXentLoss",
        source="Chen et al., SimCLR, arXiv 2002.05709",
        settings={**widths(2048, 128), "temperature": 0.1},
        projector=projector(heads.SimCLRProjectionHead),
        criterion=lambda s: losses.NTXentLoss(s["temperature"], gather_distributed=GATHER),
        compare=comparisons.two_views,
    ),
    "dcl": Recipe(
        loss="DCLLoss",
        source="Yeh et al., Decoupled Contrastive Learning, arXiv 2110.06848",
        settings={**widths(2048, 128), "temperature": 0.1},
        projector=projector(heads.SimCLRProjectionHead),
        criterion=lambda s: losses.DCLLoss(s["temperature"], gather_distributed=GATHER),
        compare=comparisons.two_views,
    ),
    "dclw": Recipe(
        loss="DCLWLoss",
        source="Yeh et al., Decoupled Contrastive Learning, arXiv 2110.06848",
        settings={**widths(2048, 128), "temperature": 0.1, "sigma": 0.5},
        projector=projector(heads.SimCLRProjectionHead),
        criterion=lambda s: losses.DCLWLoss(
            s["temperature"], s["sigma"], gather_distributed=GATHER
        ),
        compare=comparisons.two_weighted_views,
    ),
    "macl": Recipe(
        loss="MACLLoss",
        source="Huang et al., Model-Aware Contrastive Learning, arXiv 2207.07874",
        settings={**widths(2048, 128), "temperature": 0.1, "alpha": 0.5, "A_0": 0.0},
        projector=projector(heads.SimCLRProjectionHead),
        criterion=lambda s: losses.MACLLoss(s["temperature"], s["alpha"], s["A_0"]),
        compare=comparisons.two_views,
    ),
    "directclr": Recipe(
        loss="DirectCLRLoss",
        source="Jing et al., DirectCLR, arXiv 2110.09348",
        settings={"loss_dim": 360, "temperature": 0.1},
        projector=first_features,
        criterion=lambda s: losses.DirectCLRLoss(
            s["loss_dim"], s["temperature"], gather_distributed=GATHER
        ),
        compare=comparisons.two_views,
    ),
    "moco": Recipe(
        loss="NTXentLoss",
        source="Chen et al., MoCo v2, arXiv 2003.04297",
        settings={
            **widths(2048, 128),
            "temperature": 0.2,
            "queue_size": 65536,
            **average(0.999, 0.999),
        },
        projector=projector(heads.MoCoProjectionHead),
        criterion=lambda s: losses.NTXentLoss(
            s["temperature"], (s["queue_size"], s["proj_output_dim"]), gather_distributed=GATHER
        ),
        compare=comparisons.one_way,
    ),
    "nnclr": Recipe(
        loss="NTXentLoss",
        source="Dwibedi et al., NNCLR, arXiv 2104.14548",
        settings={**widths(2048, 256, 4096), "temperature": 0.1, "queue_size": 98304},
        projector=projector(heads.NNCLRProjectionHead),
        predictor=predictor(heads.NNCLRPredictionHead),
        memory=lambda s: NNMemoryBankModule((s["queue_size"], s["proj_output_dim"])),
        criterion=lambda s: losses.NTXentLoss(s["temperature"], gather_distributed=GATHER),
        compare=comparisons.neighbours,
    ),
    "byol": Recipe(
        loss="NegativeCosineSimilarity",
        source="Grill et al., BYOL, arXiv 2006.07733",
        settings={**widths(4096, 256, 4096), **average(0.996, 1.0)},
        projector=projector(heads.BYOLProjectionHead),
        predictor=predictor(heads.BYOLPredictionHead),
        criterion=lambda s: losses.NegativeCosineSimilarity(),
        compare=comparisons.averaged_views,
    ),
    "simsiam": Recipe(
        loss="NegativeCosineSimilarity",
        source="Chen and He, SimSiam, arXiv 2011.10566",
        settings=widths(2048, 2048, 512),
        projector=projector(heads.SimSiamProjectionHead),
        predictor=predictor(heads.SimSiamPredictionHead),
        criterion=lambda s: losses.NegativeCosineSimilarity(),
        compare=comparisons.detached_views,
    ),
    "barlow_twins": Recipe(
        loss="BarlowTwinsLoss",
        source="Zbontar et al., Barlow Twins, arXiv 2103.03230",
        settings={**widths(8192, 8192), "lamb": 0.005},
        projector=projector(heads.BarlowTwinsProjectionHead),
        criterion=lambda s: losses.BarlowTwinsLoss(s["lamb"], gather_distributed=GATHER),
        compare=comparisons.two_views,
        on_sphere=False,
    ),
    "vicreg": Recipe(
        loss="VICRegLoss",
        source="Bardes et al., VICReg, arXiv 2105.04906",
        settings={
            **widths(8192, 8192),
            "sim_loss_weight": 25.0,
            "var_loss_weight": 25.0,
            "cov_loss_weight": 1.0,
        },
        projector=projector(heads.VICRegProjectionHead),
        criterion=lambda s: losses.VICRegLoss(
            s["sim_loss_weight"],
            s["var_loss_weight"],
            s["cov_loss_weight"],
            gather_distributed=GATHER,
        ),
        compare=comparisons.two_views,
        on_sphere=False,
    ),
    "tico": Recipe(
        loss="TiCoLoss",
        source="Zhu et al., TiCo, arXiv 2206.10698",
        settings={**widths(4096, 256), "beta": 0.9, "rho": 8.0, **average(0.99, 1.0)},
        projector=projector(heads.TiCoProjectionHead),
        criterion=tico_loss,
        compare=comparisons.one_way,
    ),
    "wmse": Recipe(
        loss="WMSELoss",
        source="Ermolov et al., W-MSE, arXiv 2007.06346",
        settings={
            **widths(1024, 64),
            "whitening_iters": 1,
            "whitening_size": 128,
            "whitening_eps": 0.0,
        },
        # lightly has no head named after W-MSE; BYOL's has the layers of the paper's.
        projector=projector(heads.BYOLProjectionHead),
        criterion=lambda s: losses.WMSELoss(
            s["proj_output_dim"],
            eps=s["whitening_eps"],
            w_iter=s["whitening_iters"],
            w_size=s["whitening_size"],
        ),
        compare=comparisons.joined_views,
        check=check_whitening,
        on_sphere=False,
    ),
    "frossl": Recipe(
        loss="FroSSLLoss",
        source="Skean et al., FroSSL, arXiv 2310.02903",
        settings={**widths(2048, 2048), "invariance_weight": 1.0},
        projector=projector(heads.VICRegProjectionHead, num_layers=2),
        criterion=lambda s: losses.FroSSLLoss(s["invariance_weight"]),
        compare=comparisons.listed_views,
        on_sphere=False,
        crops="large",
    ),
    "mmcr": Recipe(
        loss="MMCRLoss",
        source="Yerxa et al., MMCR, arXiv 2303.03307",
        settings={**widths(8192, 512), "lmda": 0.005, **average(0.996, 1.0)},
        projector=projector(heads.MMCRProjectionHead),
        criterion=lambda s: losses.MMCRLoss(s["lmda"]),
        compare=comparisons.capacity,
        crops="large",
    ),
    "lejepa": Recipe(
        loss="LeJEPALoss",
        source="Balestriero and LeCun, LeJEPA, arXiv 2511.08544",
        settings={**widths(2048, 64), "lambda_param": 0.05, "sigreg_num_vectors": 1024},
        projector=projector(heads.LeJEPAProjectionHead),
        criterion=lambda s: losses.LeJEPALoss(
            s["lambda_param"],
            gather_distributed=GATHER,
            sigreg_num_vectors=s["sigreg_num_vectors"],
        ),
        compare=comparisons.global_and_local_views,
        on_sphere=False,
        crops="multi",
    ),
    "visreg": Recipe(
        loss="VISRegLoss",
        source="Wu et al., VISReg, arXiv 2606.02572",
        settings={
            **widths(2048, 64),
            "lambda_param": 0.9,
            "num_slices": 4096,
            "lambda_scale": 1.0,
            "lambda_shape": 1.0,
            "lambda_center": 1.0,
        },
        # lightly has no head of VISReg; its invariance is LeJEPA's.
        projector=projector(heads.LeJEPAProjectionHead),
        criterion=lambda s: losses.VISRegLoss(
            s["lambda_param"],
            s["num_slices"],
            s["lambda_scale"],
            s["lambda_shape"],
            s["lambda_center"],
            gather_distributed=GATHER,
        ),
        compare=comparisons.global_and_local_views,
        on_sphere=False,
        crops="multi",
    ),
    "swav": Recipe(
        loss="SwaVLoss",
        source="Caron et al., SwAV, arXiv 2006.09882",
        settings={
            **widths(2048, 128),
            "temperature": 0.1,
            "num_prototypes": 3000,
            "sk_iters": 3,
            "sk_epsilon": 0.05,
            "freeze_prototypes_epochs": 1,
            "queue_size": 0,
            "epoch_queue_starts": 15,
        },
        projector=projector(heads.SwaVProjectionHead),
        prototypes=lambda s: heads.SwaVPrototypes(s["proj_output_dim"], s["num_prototypes"]),
        memory=queue_each_view,
        criterion=lambda s: losses.SwaVLoss(
            s["temperature"],
            s["sk_iters"],
            s["sk_epsilon"],
            sinkhorn_gather_distributed=GATHER,
        ),
        compare=comparisons.assignments,
        after_backward=comparisons.hold_prototypes,
        crops="multi",
    ),
    "dino": Recipe(
        loss="DINOLoss",
        source="Caron et al., DINO, arXiv 2104.14294",
        settings={
            **widths(2048, 256),
            "num_prototypes": 65536,
            "use_bn_in_head": False,
            "norm_last_layer": True,
            "freeze_last_layer": 1,
            "student_temperature": 0.1,
            "warmup_teacher_temperature": 0.04,
            "teacher_temperature": 0.07,
            "warmup_teacher_temperature_epochs": 30,
            "center_momentum": 0.9,
            **average(0.996, 1.0),
        },
        projector=lambda num_inputs, s: heads.DINOProjectionHead(
            num_inputs,
            s["proj_hidden_dim"],
            s["proj_output_dim"],
            s["num_prototypes"],
            batch_norm=s["use_bn_in_head"],
            freeze_last_layer=s["freeze_last_layer"],
            norm_last_layer=s["norm_last_layer"],
        ),
        criterion=lambda s: losses.DINOLoss(
            s["num_prototypes"],
            s["warmup_teacher_temperature"],
            s["teacher_temperature"],
            s["warmup_teacher_temperature_epochs"],
            s["student_temperature"],
            s["center_momentum"],
        ),
        compare=comparisons.distillation,
        after_backward=comparisons.hold_last_layer,
        on_sphere=False,
        crops="multi",
    ),
}
