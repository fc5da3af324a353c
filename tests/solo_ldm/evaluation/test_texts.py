"""Zero-shot classification and retrieval, against counting by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from solo_ldm.evaluation.texts import retrieval, similarities, zero_shot


def test_zero_shot_is_the_softmax_of_the_mean_of_unit_prompts():
    generator = torch.Generator().manual_seed(0)
    images, prompts = (
        torch.randn(6, 4, generator=generator),
        torch.randn(3, 2, 4, generator=generator),
    )
    shares = zero_shot(images, prompts, precision=7.0)
    means = normalize(normalize(prompts.double(), dim=2).mean(dim=1), dim=1)
    expected = (7.0 * normalize(images.double(), dim=1) @ means.T).softmax(dim=1)
    torch.testing.assert_close(shares, expected)
    assert torch.equal(zero_shot(3.0 * images, prompts).argmax(1), expected.argmax(1))


def test_on_the_plane_lengths_count():
    images = torch.tensor([[1.0, 0.0], [9.0, 0.0]])
    prompts = torch.tensor([[[2.0, 0.0]], [[8.0, 0.0]]])
    assert zero_shot(images, prompts, on_plane=True).argmax(dim=1).tolist() == [0, 1]
    found = similarities(images, prompts[:, 0], on_plane=True)
    torch.testing.assert_close(found, -torch.tensor([[0.5, 24.5], [24.5, 0.5]]).double())


def test_retrieval_counts_as_by_hand():
    images = torch.eye(3)
    texts = torch.tensor([[1.0, 0.1, 0.0], [0.9, 0.0, 0.5], [0.0, 0.6, 0.8], [1.0, 0.0, 0.05]])
    pairs = torch.tensor([[0, 0], [0, 1], [1, 2], [2, 3]])
    found = retrieval(images, texts, pairs, at=(1, 2))
    # Image 0: text 3 is nearest, then 0, its own; 1: its own 2; 2: texts 2 and 1 before its own 3.
    assert found["image_to_text"]["recall@1"]["value"] == pytest.approx(1 / 3)
    assert found["image_to_text"]["recall@2"]["value"] == pytest.approx(2 / 3)
    # Texts 0 and 1: image 0, their own; 2: image 2 before 1; 3: image 0 and 2.
    assert found["text_to_image"]["recall@1"]["value"] == pytest.approx(2 / 4)
    assert found["text_to_image"]["recall@2"]["value"] == 1.0


def test_chance_is_what_random_rankings_recall():
    pairs = torch.tensor([[0, 0], [0, 1], [1, 2], [2, 3], [3, 4], [4, 5]])
    found = retrieval(torch.eye(5), torch.randn(6, 5), pairs, at=(1, 3, 9))
    one = found["image_to_text"]
    two_of_six = 1 - math.comb(4, 3) / math.comb(6, 3)
    assert one["recall@1"]["chance"] == pytest.approx((2 / 6 + 4 / 6) / 5)
    assert one["recall@3"]["chance"] == pytest.approx((two_of_six + 4 * 3 / 6) / 5)
    assert one["recall@9"]["chance"] == 1.0
    counts = torch.zeros(2)
    for seed in range(120):
        generator = torch.Generator().manual_seed(seed)
        z = [torch.randn(n, 5, generator=generator) for n in (5, 6)]
        drawn = retrieval(*z, pairs, at=(1, 3))["image_to_text"]
        counts += torch.tensor([drawn["recall@1"]["value"], drawn["recall@3"]["value"]])
    expected = torch.tensor([one["recall@1"]["chance"], one["recall@3"]["chance"]])
    torch.testing.assert_close(counts / 120, expected, atol=0.06, rtol=0.0)


def test_latents_that_are_all_the_same_recall_nothing():
    pairs = torch.stack([torch.arange(20)] * 2, dim=1)
    found = retrieval(torch.ones(20, 3), torch.ones(20, 3), pairs)
    assert found["image_to_text"]["recall@10"]["value"] == 0.0


def test_blocks_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(9, 4, generator=generator) for _ in range(2))
    pairs = torch.stack([torch.arange(9)] * 2, dim=1).flip(0)
    whole = retrieval(images, texts, pairs)
    monkeypatch.setattr("solo_ldm.evaluation.texts._MOST", 20)
    assert retrieval(images, texts, pairs) == whole


def test_latents_that_do_not_fit_are_one_line():
    with pytest.raises(ValueError, match="prompts: expected finite latents"):
        zero_shot(torch.randn(3, 4), torch.randn(2, 1, 5))
    with pytest.raises(ValueError, match="images: expected finite numbers"):
        zero_shot(torch.full((3, 4), math.nan), torch.randn(2, 1, 4))
