"""SVHN: house numbers of 32 pixels, cropped to one digit."""

from solo_ldm.data.datasets import base

SVHN = base.torchvision_dataset(
    "SVHN",
    "train_32x32.mat and test_32x32.mat",
    ("train", "test"),
    labels="labels",
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    views=base.Views(
        "svhn",
        # The reference's views of CIFAR without the flip: house numbers do not mirror.
        pretraining=base.reference_views(32, blur=0.0, flip=0.0),
        # The number fills half the height of an image: smaller crops would often miss it.
        linear=base.crop_view(32, 0.5, flip=False),
        masked=base.masked(32, patch_size=4, flip=False),
    ),
)
