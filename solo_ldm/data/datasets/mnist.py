"""MNIST and Fashion-MNIST: digits and clothes of 28 pixels, gray."""

from solo_ldm.data.datasets import base

VIEWS = base.Views(
    "mnist",
    pretraining=base.moved_views(28, 0.4, degrees=15, shear=10),
    # Most of the image and no flip: a mirrored digit is another sign, or none.
    linear=base.crop_view(28, 0.8, flip=False),
    masked=base.masked(28, patch_size=4, crop=0.6, flip=False),
)


def _dataset(kind: str, mean: float, std: float) -> base.Dataset:
    layout = f"{kind}/raw/train-images-idx3-ubyte and the three files beside it"
    about = {"mean": (mean,) * 3, "std": (std,) * 3, "views": VIEWS, "backbone": "convnet_small"}
    return base.torchvision_dataset(kind, layout, **about)


MNIST = _dataset("MNIST", 0.1307, 0.3081)
FASHION_MNIST = _dataset("FashionMNIST", 0.2860, 0.3530)
