"""STL-10: photographs of 96 pixels, most of them without a label."""

from solo_ldm.data.datasets import base

STL10 = base.torchvision_dataset(
    "STL10",
    "stl10_binary/*.bin",
    # The unlabelled images have label -1; evaluation uses the labelled ones alone.
    ("train+unlabeled", "test"),
    labels="labels",
    mean=(0.4914, 0.4823, 0.4466),
    std=(0.247, 0.243, 0.261),
    views=base.Views(
        "stl10",
        pretraining=base.reference_views(96),
        linear=base.crop_view(96, 0.08),  # the usual crop and flip, solo-learn's too
        masked=base.masked(96, patch_size=8),
    ),
)
