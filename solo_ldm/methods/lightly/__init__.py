"""Baselines on the losses and heads of the package lightly: `method: lightly/NAME`.

Nothing here imports lightly, which is not among the dependencies, before `find` is called.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from solo_ldm.config.arguments import check_value

if TYPE_CHECKING:
    from solo_ldm.methods.lightly.method import LightlyMethod

_PATCHES = "it masks patches, which needs a vision transformer with mask tokens"

# Losses and examples of lightly that are not methods here, and why.
REFUSED = {
    **dict.fromkeys(
        ("aim", "capi", "dinov2", "ibot", "ijepa", "mae", "msn", "pixio", "pmsn", "simmim"),
        _PATCHES,
    ),
    **dict.fromkeys(
        ("densecl", "detcon", "vicregl"), "it compares positions of feature maps, not vectors"
    ),
    "emp_ssl": "lightly's EMPSSLLoss adds the coding rate that the paper subtracts, so its minimum "
    "is a collapse; train --config-name emp_ssl",
}


@cache
def find(name: str) -> type[LightlyMethod]:
    """Return the class of a method on lightly's losses and heads.

    Args:
        name: what follows "lightly/", e.g. dino.

    Raises:
        ValueError: in one line: lightly is not installed, or has no such method.
    """
    if find_spec("lightly") is None:
        raise ValueError(
            f"method=lightly/{name} needs the package lightly: pip install solo-ldm[baselines]"
        )
    from lightly import loss

    if not hasattr(loss, "VISRegLoss"):
        raise ValueError(
            f"method=lightly/{name} needs lightly 1.6 or later, got {version('lightly')}: "
            "pip install -U lightly"
        )
    from solo_ldm.methods.lightly.method import LightlyMethod
    from solo_ldm.methods.lightly.recipes import RECIPES

    if name in REFUSED:
        raise ValueError(f"lightly/{name} cannot be trained here: {REFUSED[name]}")
    check_value("method", f"lightly/{name}", Literal[tuple(f"lightly/{one}" for one in RECIPES)])
    return type(f"Lightly_{name}", (LightlyMethod,), {"name": name, "recipe": RECIPES[name]})
