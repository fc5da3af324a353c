"""Training crops whose sides change over the training."""

import pytest

from solo_ldm.data import DataConfig
from solo_ldm.data.augment.resolution import Resolution
from solo_ldm.data.module import ImageDataModule
from tests.support.data.images import BACKENDS, VIEWS, epoch_of, equal, module


def test_a_training_is_divided_equally_among_the_shares():
    shares = [Resolution((0.5, 0.75, 1.0), 7).at(epoch) for epoch in range(9)]
    assert shares == [0.5, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"^resolution: expected at most max_epochs=2 shares"):
        Resolution((0.5, 0.75, 1.0), 2)
    assert {Resolution((0.5,), 3).at(epoch) for epoch in range(3)} == {0.5}


@pytest.mark.parametrize("form", BACKENDS)
def test_crops_of_a_smaller_share_are_those_of_views_of_that_size(form):
    small = [{**view, "crop_size": view["crop_size"] // 2} for view in VIEWS]
    small[0] |= {"gaussian_blur": {"prob": 0.5, "sigma_min": 0.05, "sigma_max": 1.0}}
    plain, halved = (
        module(form, views, batch_size=64, dataset="digits", fraction=0.1)
        for views in (VIEWS, small)
    )
    growing = ImageDataModule(
        DataConfig(**vars(plain.data)),
        plain.views,
        plain.batch_size,
        plain.seed,
        resolution=Resolution((0.5, 1.0), 2),
    )
    for epoch, same in ((0, halved), (1, plain), (0, halved)):
        batches = epoch_of(growing, epoch)
        assert equal(batches, epoch_of(same, epoch))
    assert growing.image_size == plain.image_size == 24
