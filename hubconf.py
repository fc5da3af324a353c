"""torch.hub: `torch.hub.load(REPOSITORY, "load", NAME)` gives a model of the zoo."""

dependencies = ["torch", "torchvision", "timm", "lightning", "hydra", "safetensors", "rich", "yaml"]

from predictive.zoo import PredictiveKind  # noqa: E402
from solo_ldm.zoo import list, load  # noqa: E402
from solo_ldm.zoo.kinds import add_kind  # noqa: E402

add_kind(PredictiveKind())  # torch.hub uses a checkout without installing it

__all__ = ["list", "load"]
