"""torch.hub: `torch.hub.load(REPOSITORY, "load", NAME)` gives a model of the zoo."""

from solo_ldm.zoo import list, load

dependencies = [
    "torch", "torchvision", "timm", "lightning", "hydra", "safetensors", "huggingface_hub", "yaml"
]  # fmt: skip

__all__ = ["list", "load"]
