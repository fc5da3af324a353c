"""solo-learn's methods by name: their settings on CIFAR, as its scripts/pretrain/cifar/ have them.

Source: github.com/vturrisi/solo-learn, commit 9187ea3: the YAML of each method, and for settings
that it leaves out the default in solo/methods/NAME.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """A method of solo-learn.

    Args:
        kwargs: every key of method_kwargs and its value on CIFAR.
        momentum: base_tau and final_tau where there is a moving-average network.
        on_sphere: whether its loss reads the directions of the latents alone.
        without_effect: keys of method_kwargs in its YAML that its code does not read.
    """

    kwargs: dict[str, Any]
    momentum: tuple[float, float] | None = None
    on_sphere: bool = True
    without_effect: tuple[str, ...] = ()


def _heads(hidden: int, output: int, predictor: int | None = None, **more: Any) -> dict[str, Any]:
    kwargs = {"proj_hidden_dim": hidden, "proj_output_dim": output}
    return {**kwargs, **({"pred_hidden_dim": predictor} if predictor else {}), **more}


RECIPES: dict[str, Recipe] = {
    "all4one": Recipe(_heads(2048, 256, 4096, temperature=0.2, queue_size=98304), (0.99, 1.0)),
    "barlow_twins": Recipe(_heads(2048, 2048, scale_loss=0.1, lamb=0.0051), on_sphere=False),
    "byol": Recipe(_heads(4096, 256, 4096), (0.99, 1.0)),
    "deepclusterv2": Recipe(
        _heads(2048, 128, temperature=0.1, num_prototypes=[3000, 3000, 3000], kmeans_iters=10)
    ),
    "dino": Recipe(
        _heads(
            2048,
            256,
            num_prototypes=4096,
            clip_grad=0,
            freeze_last_layer=1,
            norm_last_layer=True,
            use_bn_in_head=False,
            student_temperature=0.1,
            teacher_temperature=0.07,
            warmup_teacher_temperature=0.04,
            warmup_teacher_temperature_epochs=0,
        ),
        (0.9995, 1.0),
        on_sphere=False,
    ),
    "mae": Recipe(
        {
            "decoder_embed_dim": 512,
            "decoder_depth": 8,
            "decoder_num_heads": 16,
            "mask_ratio": 0.75,
            "norm_pix_loss": True,
        },
        on_sphere=False,
    ),
    "mocov2plus": Recipe(_heads(2048, 256, temperature=0.2, queue_size=32768), (0.99, 0.999)),
    "mocov3": Recipe(_heads(4096, 256, 4096, temperature=0.2), (0.99, 1.0)),
    "nnbyol": Recipe(_heads(4096, 256, 4096, queue_size=65536), (0.99, 1.0)),
    "nnclr": Recipe(_heads(2048, 256, 4096, temperature=0.2, queue_size=65536)),
    "nnsiam": Recipe(_heads(2048, 2048, 4096, queue_size=65536)),
    "ressl": Recipe(
        _heads(4096, 256, temperature_q=0.1, temperature_k=0.04, queue_size=65536),
        (0.99, 1.0),
        without_effect=("base_tau_momentum", "final_tau_momentum", "momentum_classifier"),
    ),
    "simclr": Recipe(_heads(2048, 256, temperature=0.2)),
    "simsiam": Recipe(_heads(2048, 2048, 512), without_effect=("temperature",)),
    "supcon": Recipe(_heads(2048, 256, temperature=0.2)),
    "swav": Recipe(
        _heads(
            2048,
            128,
            temperature=0.1,
            queue_size=3840,
            num_prototypes=3000,
            sk_epsilon=0.05,
            sk_iters=3,
            epoch_queue_starts=50,
            freeze_prototypes_epochs=2,
        )
    ),
    "vibcreg": Recipe(
        _heads(
            2048,
            2048,
            sim_loss_weight=25.0,
            var_loss_weight=25.0,
            cov_loss_weight=200.0,
            iternorm=True,
        ),
        on_sphere=False,
    ),
    "vicreg": Recipe(
        _heads(2048, 2048, sim_loss_weight=25.0, var_loss_weight=25.0, cov_loss_weight=1.0),
        on_sphere=False,
    ),
    "wmse": Recipe(_heads(1024, 64, whitening_size=128, whitening_iters=1, whitening_eps=0.0)),
}

# Largest defaults on the digits, 1437 images of 8 pixels: a queue of 65536 is 1.3 times CIFAR
# and would be 46 times the digits.
_MOST_ON_DIGITS: dict[str, Any] = {
    "proj_hidden_dim": 512,
    "proj_output_dim": 128,
    "pred_hidden_dim": 512,
    "queue_size": 2048,
    "num_prototypes": 128,
    "decoder_embed_dim": 128,
    "decoder_depth": 2,
    "decoder_num_heads": 4,
}


def default_settings(name: str, dataset: str) -> dict[str, Any]:
    """Return the default method_kwargs of a method.

    Args:
        name: of the method.
        dataset: of the training; sizes are bounded for digits.
    """
    kwargs = dict(RECIPES[name].kwargs)
    if dataset == "digits":
        for key, most in _MOST_ON_DIGITS.items():
            value = kwargs.get(key)
            if isinstance(value, list):
                kwargs[key] = [min(one, most) for one in value]
            elif value is not None:
                kwargs[key] = min(value, most)
    return kwargs
