"""CIFAR-10 and CIFAR-100: photographs of 32 pixels."""

from solo_ldm.data.datasets import base

VIEWS = base.Views(
    "cifar",
    pretraining=base.reference_views(32, blur=0.0),
    # The crop keeps most of the image, as the usual crop of a padded image does: a classifier of
    # small crops is not the best one of whole images unless the features hardly change with the
    # crop. linear_augmentations@augmentations=solo_learn has solo-learn's, from 0.08 on.
    linear=base.crop_view(32, 0.8),
    masked=base.masked(32, patch_size=4),
)

CIFAR10 = base.torchvision_dataset(
    "CIFAR10",
    "cifar-10-batches-py/",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    views=VIEWS,
)
CIFAR100 = base.torchvision_dataset(
    "CIFAR100",
    "cifar-100-python/",
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    views=VIEWS,
)
