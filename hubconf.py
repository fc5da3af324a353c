"""torch.hub: `torch.hub.load(REPOSITORY, "load", NAME)` gives a model of the zoo."""

dependencies = ["torch", "torchvision", "timm", "lightning", "hydra", "safetensors", "rich", "yaml"]

from solo_ldm.zoo import list, load  # noqa: E402

__all__ = ["list", "load"]
