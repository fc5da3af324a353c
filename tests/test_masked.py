"""JEPA on masked blocks: masks, positions, what is seen, what is predicted, what is learned."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from solo_ldm.backbones import create_backbone, load_backbone
from solo_ldm.data.config import DataConfig
from solo_ldm.data.module import ImageDataModule
from solo_ldm.entropy import ENTROPIES
from solo_ldm.host.guards import StopAtNonFinite
from solo_ldm.host.pretrain import pretrain
from solo_ldm.host.run import Outcome
from solo_ldm.host.schema import complete
from solo_ldm.methods import Masked
from solo_ldm.methods.masked import (
    BlockMasks,
    check_backbone,
    encode,
    patches_of,
    positions,
    resolve,
)

CONFIGS = Path(__file__).parents[1] / "solo_ldm" / "configs"
SEED, EPOCH, STEP = 3, 1, 7

# Eight by eight patches of 16-pixel images, as the preset, and a network that is gone in a moment.
TINY = (
    "backbone.kwargs.patch_size=2",
    "backbone.kwargs.embed_dim=16",
    "backbone.kwargs.depth=2",
    "backbone.kwargs.num_heads=2",
    "method_kwargs.num_targets=4",
    "method_kwargs.target_scale=[0.15,0.2]",
    "method_kwargs.target_aspect=[0.75,1.5]",
    "method_kwargs.least_context=10",
    "method_kwargs.pred_embed_dim=8",
    "method_kwargs.pred_depth=1",
    "method_kwargs.pred_num_heads=2",
)


def config(*overrides: str) -> DictConfig:
    """Compose the preset with a tiny network."""
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        return compose("ijepa", overrides=[*TINY, *overrides])


def build(*overrides: str, **data: int) -> Masked:
    """Build the method as the host does, in evaluation mode."""
    cfg = complete(config(*overrides))
    about = {"num_classes": 10, "image_size": 16, "num_large_crops": 1, "num_small_crops": 0}
    cfg.data = {**OmegaConf.to_container(cfg.data), **about, **data}  # pyright: ignore
    return Masked(cfg).eval()


def images_and_masks(method: Masked, count: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Return images (B, 3, 16, 16), patches of the context and of the targets."""
    images = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    drawn = method.masks.draw(SEED, EPOCH, STEP, range(count))
    kept = torch.from_numpy(drawn.context(drawn.smallest_context))
    return images, kept, torch.from_numpy(drawn.targets)


def run(folder: Path, *overrides: str) -> Outcome:
    """Train two epochs of five steps on a few digits."""
    small = (
        *("max_epochs=2", "scheduler.warmup_epochs=1", "optimizer.batch_size=32"),
        *("data.fraction=0.12", "data.num_workers=0", f"checkpoint.dir={folder}"),
        *("evaluation.protocols=[knn-20]", "evaluation.report=false"),
    )
    outcome = pretrain(config(*small, *overrides))
    assert outcome is not None
    return outcome


def state_of(outcome: Outcome) -> dict[str, Tensor]:
    return torch.load(outcome.folder.last, weights_only=True)["state_dict"]


collapse_is_expected = pytest.mark.filterwarnings(
    "ignore::solo_ldm.host.guards.CollapseWarning"  # of a network after a few steps
)


# Masks.


@pytest.mark.parametrize("grid", [(8, 8), (7, 7), (14, 14), (12, 16)])
def test_targets_are_rectangles_within_the_ranges_of_share_and_aspect(grid):
    rows, columns = grid
    masks = BlockMasks(grid)
    for step in range(20):
        targets = masks.draw(SEED, EPOCH, step, range(5)).targets
        assert targets.shape[:2] == (5, 4)
        for block in targets.reshape(-1, targets.shape[2]):
            row, column = np.divmod(block, columns)
            height, width = np.ptp(row) + 1, np.ptp(column) + 1
            assert len(set(block.tolist())) == height * width == len(block)
            assert set(block.tolist()) <= set(range(rows * columns))
            assert 0.15 - 1e-9 <= height * width / (rows * columns) <= 0.2 + 1e-9
            assert 0.75 <= height / width <= 1.5


def test_blocks_take_every_size_and_place_that_fits():
    masks = BlockMasks((14, 14), num_targets=3, target_scale=(0.1, 0.3))
    drawn = [masks.draw(SEED, EPOCH, step, range(400)).targets for step in range(40)]
    assert len({one.shape[2] for one in drawn}) > 8
    assert {int(patch) for one in drawn for patch in one.ravel()} == set(range(196))


def test_the_context_holds_no_target_and_at_least_so_many_patches():
    masks = BlockMasks((8, 8), least_context=14)
    for step in range(10):
        drawn = masks.draw(SEED, EPOCH, step, range(64))
        context = drawn.context(14)
        for kept, targets in zip(context, drawn.targets, strict=True):
            assert len(set(kept.tolist())) == 14
            assert not set(kept.tolist()) & set(targets.ravel().tolist())


def test_the_context_is_a_block_of_its_share_without_the_targets():
    masks = BlockMasks((14, 14), num_targets=1, context_scale=(0.25, 0.26), least_context=1)
    drawn = masks.draw(SEED, EPOCH, STEP, range(50))
    for visible, targets in zip(drawn.visible, drawn.targets, strict=True):
        row, column = np.divmod(np.flatnonzero(visible), 14)
        assert max(np.ptp(row), np.ptp(column)) < 7
        # Forty-nine patches, less those of a target of at most 39.
        assert 10 <= visible.sum() <= 49
        assert not visible[targets.ravel()].any()


def test_masks_are_a_function_of_seed_epoch_step_and_image():
    masks = BlockMasks((14, 14))

    def drawn(seed: int, epoch: int, samples: list[int]) -> tuple[Any, Any]:
        one = masks.draw(seed, epoch, STEP, samples)
        return one.targets, one.context(10)

    targets, context = drawn(SEED, EPOCH, [5, 9])
    again, alone = drawn(SEED, EPOCH, [5, 9]), drawn(SEED, EPOCH, [9])
    for one, other in zip((targets, context), again, strict=True):
        assert np.array_equal(one, other)
    # Not of the other images of the batch, nor of the place in it.
    for one, other in zip((targets, context), alone, strict=True):
        assert np.array_equal(one[1], other[0])
    assert not np.array_equal(targets[0], targets[1])
    for seed, epoch in ((SEED + 1, EPOCH), (SEED, EPOCH + 1)):
        others = masks.draw(seed, epoch, STEP, [5, 9]).targets
        assert others.shape != targets.shape or not np.array_equal(others, targets)


# Positions and the encoder.


def test_positions_are_sines_and_cosines_of_row_and_column():
    dim, columns = 12, 5
    table = positions(3, columns, dim)
    for row in range(3):
        for column in range(columns):
            expected = []
            for place in (row, column):
                angles = [place / 10000 ** (k / (dim / 4)) for k in range(dim // 4)]
                expected += [*map(math.sin, angles), *map(math.cos, angles)]
            torch.testing.assert_close(table[row * columns + column], torch.tensor(expected))


def test_fixed_positions_are_what_patches_get_and_are_not_trained():
    method = build("+backbone.kwargs.reg_tokens=1")
    torch.testing.assert_close(method.backbone.pos_embed[0, 1:], positions(8, 8, 16))
    assert not method.backbone.pos_embed.requires_grad
    assert not method.backbone.pos_embed[0, 0].any()
    assert build("method_kwargs.positions=learned").backbone.pos_embed.requires_grad


PREFIXES = pytest.mark.parametrize(
    "prefix", [(), ("backbone.kwargs.class_token=true", "+backbone.kwargs.reg_tokens=2")], ids=str
)


@PREFIXES
def test_the_encoder_with_all_patches_is_timms(prefix):
    vit = build(*prefix).backbone
    images = torch.randn(4, 3, 16, 16)
    everything = torch.arange(64).expand(4, -1)
    expected = vit.forward_features(images)
    torch.testing.assert_close(encode(vit, images), expected)
    torch.testing.assert_close(encode(vit, images, everything), expected)
    torch.testing.assert_close(vit.forward_head(encode(vit, images)), vit(images))
    torch.testing.assert_close(patches_of(vit, expected).mean(dim=1), vit(images))


@PREFIXES
def test_pixels_of_patches_that_are_not_kept_do_not_reach_the_context(prefix):
    method = build(*prefix)
    images, kept, _ = images_and_masks(method)
    images.requires_grad_()
    encode(method.backbone, images, kept).square().sum().backward()
    assert images.grad is not None
    touched = images.grad.unfold(2, 2, 2).unfold(3, 2, 2).abs().sum(dim=(1, 4, 5)).flatten(1) > 0
    expected = torch.zeros(len(images), 64, dtype=torch.bool).scatter(1, kept, True)
    assert torch.equal(touched, expected)


# The predictor.


def test_a_prediction_depends_on_its_place_and_not_on_the_other_blocks():
    method = build()
    images, kept, targets = images_and_masks(method)
    seen = encode(method.backbone, images, kept)
    predicted = method.predictor(seen, kept, targets)
    assert (predicted[0, 0, 0] - predicted[0, 0, 1]).abs().max() > 1e-3
    # Another order of the places gives the same predictions in that order.
    torch.testing.assert_close(
        method.predictor(seen, kept, targets.flip(1, 2)), predicted.flip(1, 2)
    )
    torch.testing.assert_close(method.predictor(seen, kept, targets[:, 2:3]), predicted[:, 2:3])


def test_a_prediction_depends_on_what_is_seen_and_where():
    method = build()
    images, kept, targets = images_and_masks(method)
    seen = encode(method.backbone, images, kept)
    predicted = method.predictor(seen, kept, targets)
    assert (method.predictor(seen + 1.0, kept, targets) - predicted).abs().max() > 1e-3
    assert (method.predictor(seen.flip(1), kept, targets) - predicted).abs().max() > 1e-3


# The objective.


def test_the_loss_is_the_squared_error_of_normalised_patches_of_the_average():
    method = build()
    with torch.no_grad():
        for value in method.target.parameters():
            value.add_(0.1 * torch.randn_like(value))
    images, kept, targets = images_and_masks(method)
    errors = []
    for image in range(len(images)):
        whole = method.target.backbone.forward_features(images[image][None])[0]
        seen = encode(method.backbone, images[image][None], kept[image][None])
        for block in targets[image]:
            predicted = method.predictor(seen, kept[image][None], block[None, None])[0, 0]
            for place, one in zip(block, predicted, strict=True):
                aim = whole[place]
                aim = (aim - aim.mean()) / (aim.var(unbiased=False) + 1e-5).sqrt()
                errors.append((one - aim).square().mean())
    expected = torch.stack(errors).mean()
    terms, _, _ = method.match(images, kept, targets)
    torch.testing.assert_close(terms.loss, expected)
    torch.testing.assert_close(terms.log_prob, -expected)
    assert terms.entropy == 0.0


def test_on_the_sphere_it_is_minus_the_cosine():
    method = build("method_kwargs.latent=sphere")
    images, kept, targets = images_and_masks(method)
    whole = method.target.backbone.forward_features(images)
    aims = whole.gather(1, targets.flatten(1)[..., None].expand(-1, -1, 16))
    aims = torch.nn.functional.layer_norm(aims, (16,)).view(*targets.shape, 16)
    predicted = method.predictor(encode(method.backbone, images, kept), kept, targets)
    cosine = torch.cosine_similarity(predicted, aims, dim=-1).mean()
    torch.testing.assert_close(method.match(images, kept, targets)[0].loss, -cosine)


def test_the_entropy_is_of_the_mean_latents_of_whole_images():
    method = build("method_kwargs.entropy=logdet", "method_kwargs.entropy_weight=0.5")
    images, kept, targets = images_and_masks(method)
    patches = torch.nn.functional.layer_norm(method.backbone.forward_features(images), (16,))
    expected = ENTROPIES["logdet"]("plane").marginal(patches.mean(dim=1))
    terms, _, z = method.match(images, kept, targets)
    torch.testing.assert_close(terms.entropy, expected)
    torch.testing.assert_close(terms.loss, -terms.log_prob - 0.5 * expected)
    torch.testing.assert_close(z[0], patches.mean(dim=1))


def test_a_network_that_encodes_places_alone_has_the_entropy_of_a_point():
    """The entropy of single patches would not tell: they differ as much as their places do."""
    method = build("method_kwargs.entropy=logdet")
    torch.nn.init.zeros_(method.backbone.patch_embed.proj.weight)
    images, kept, targets = images_and_masks(method, count=32)
    terms, whole, z = method.match(images, kept, targets)
    assert z[0].std(dim=0).max() < 1e-6
    point = ENTROPIES["logdet"]("plane").marginal(torch.zeros(32, 16))
    torch.testing.assert_close(terms.entropy, point, atol=1e-3, rtol=0)
    assert whole.flatten(0, 1).std(dim=0).mean() > 0.2


@pytest.mark.parametrize("target", ["detached", "moving_average"])
def test_no_gradient_reaches_the_target(target):
    method = build(f"method_kwargs.target={target}")
    images, kept, targets = images_and_masks(method)
    images.requires_grad_()
    method.match(images, kept, targets)[0].loss.backward()
    assert images.grad is not None
    # The pixels of the targets are seen by the target network alone.
    touched = images.grad.unfold(2, 2, 2).unfold(3, 2, 2).abs().sum(dim=(1, 4, 5)).flatten(1)
    assert touched.gather(1, kept).min() > 0
    assert touched.gather(1, targets.flatten(1)).max() == 0
    if method.target is not None:
        assert all(value.grad is None for value in method.target.parameters())


def test_the_same_network_as_target_learns_from_both_sides():
    method = build("method_kwargs.target=same", "method_kwargs.entropy=sliced")
    images, kept, targets = images_and_masks(method)
    images.requires_grad_()
    method.match(images, kept, targets)[0].loss.backward()
    assert images.grad is not None
    assert images.grad.unfold(2, 2, 2).unfold(3, 2, 2).abs().sum(dim=(1, 4, 5)).min() > 0


PLANE = [name for name, kind in ENTROPIES.items() if "plane" in kind.supports and name != "none"]


@pytest.mark.parametrize("target", ["same", "detached", "moving_average"])
@pytest.mark.parametrize("entropy", PLANE)
def test_every_estimator_of_the_plane_learns_with_every_target(entropy, target):
    method = build(f"method_kwargs.entropy={entropy}", f"method_kwargs.target={target}")
    images, kept, targets = images_and_masks(method, count=16)
    terms = method.match(images, kept, targets)[0]
    terms.loss.backward()
    assert terms.loss.isfinite()
    gradients = [p.grad for p in method.parameters() if p.requires_grad and p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    learned = {name for name, p in method.named_parameters() if p.requires_grad}
    reached = {name for name, p in method.named_parameters() if p.grad is not None}
    assert learned - reached == {"classifier.weight", "classifier.bias"}


def test_a_patch_may_have_a_predicted_covariance():
    method = build("method_kwargs.latent=conditional", "~method_kwargs.prediction_precision")
    images, kept, targets = images_and_masks(method)
    terms = method.match(images, kept, targets)[0]
    terms.loss.backward()
    assert method.predictor(torch.randn(1, 9, 16), kept[:1, :9], targets[:1]).shape[-1] == 32
    assert terms.loss.isfinite()


# Runs.


@collapse_is_expected
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_the_average_follows_as_tau_says(tmp_path, tau):
    taus = (f"method_kwargs.base_tau={tau}", f"method_kwargs.final_tau={tau}")
    state = state_of(run(tmp_path, *taus, "max_epochs=1", "scheduler.warmup_epochs=0"))
    keys = [key for key in state if key.startswith("backbone.")]
    assert keys
    equal = [torch.equal(state[key], state[f"target.{key}"]) for key in keys]
    # Fixed positions are equal whatever happens.
    assert all(equal) if tau == 0.0 else sum(equal) == 1


@collapse_is_expected
def test_an_interrupted_run_continues_bit_for_bit(tmp_path, monkeypatch):
    overrides = ("method_kwargs.entropy=sliced", "accumulate_grad_batches=2")
    whole = run(tmp_path / "whole", *overrides)
    look = StopAtNonFinite.on_train_batch_end

    def interrupted(self, trainer, *rest):
        look(self, trainer, *rest)
        if trainer.fit_loop.total_batch_idx == 7:  # in the second epoch of five batches
            raise RuntimeError("power cut")

    with monkeypatch.context() as cut:
        cut.setattr(StopAtNonFinite, "on_train_batch_end", interrupted)
        with pytest.raises(RuntimeError, match="power cut"):
            run(tmp_path / "cut", *overrides)
    resumed = run(tmp_path / "cut", *overrides)
    expected, actual = state_of(whole), state_of(resumed)
    assert expected.keys() == actual.keys()
    assert any(key.startswith("target.") for key in expected)
    assert all(torch.equal(expected[key], actual[key]) for key in expected)


@collapse_is_expected
def test_the_saved_backbone_is_timms(tmp_path):
    outcome = run(tmp_path, "max_epochs=1", "scheduler.warmup_epochs=0")
    kwargs = {"patch_size": 2, "embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": 16}
    kwargs |= {"class_token": False, "global_pool": "avg", "fc_norm": False, "num_classes": 0}
    plain = timm.create_model("vit_tiny_patch16_224", **kwargs).eval()
    plain.load_state_dict(load_file(outcome.folder.backbone))
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(load_backbone(outcome.folder.backbone)(images), plain(images))
    results = json.loads(outcome.folder.results.read_text())
    assert {"z_std", "z_alignment"} <= results["health"].keys()
    assert results["predictor"] == "transformer"


DATA = sorted(path.stem for path in (CONFIGS / "data").glob("*.yaml"))
AUGMENTATIONS = sorted(path.stem for path in (CONFIGS / "augmentations").glob("*.yaml"))


def test_each_size_of_images_has_its_patches():
    assert sorted(path.stem for path in (CONFIGS / "masked").glob("*.yaml")) == AUGMENTATIONS


@pytest.mark.parametrize("data", DATA)
def test_the_preset_fits_every_data_set(data):
    overrides = [f"data={data}", "data.train_path=somewhere", "++backbone.kwargs.depth=1"]
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = complete(compose("ijepa", overrides=[*overrides, "method_kwargs.pred_depth=1"]))
        usual = complete(compose("gaussprob", overrides=overrides[:2]))
    module = ImageDataModule(DataConfig(**cfg.data), cfg.augmentations, 4)
    assert module.image_size == usual.augmentations[0].crop_size
    for key in ("num_large_crops", "num_small_crops", "image_size"):
        cfg.data[key] = getattr(module, key)
    cfg.data.num_classes = 0
    method = Masked(cfg)
    size = module.image_size
    kept, targets = method.draw_masks(torch.arange(2), 0)
    assert method.match(torch.randn(2, 3, size, size), kept, targets)[0].loss.isfinite()


# Two processes.

CASES = (
    ("method_kwargs.target=moving_average",),
    ("method_kwargs.target=same", "method_kwargs.entropy=kernel"),
)


def loss_and_gradients(
    overrides: tuple[str, ...], rows: slice, wrap: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of some of 16 images, and the gradients after processes have shared them."""
    torch.manual_seed(0)
    method = build(*overrides).double()

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.method = method
            method.classifier = None

        def forward(self, images: Tensor, indexes: Tensor) -> Tensor:
            kept, targets = self.method.draw_masks(indexes, STEP)
            return self.method.match(images, kept, targets)[0].loss

    loss: torch.nn.Module = Loss()
    if wrap:
        loss = DistributedDataParallel(loss)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(16, 3, 16, 16, generator=generator, dtype=torch.float64)
    value = loss(images[rows], torch.arange(100, 116)[rows])
    value.backward()
    return value.detach(), {
        name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None
    }


def one_of_two_processes(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    rows = slice(8 * rank, 8 * (rank + 1))
    torch.save([loss_and_gradients(case, rows, wrap=True) for case in CASES], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_masked_processes_give_the_loss_and_gradients_of_one(tmp_path):
    """Masks and their sizes are those of the whole batch, whoever draws them."""
    mp.spawn(one_of_two_processes, args=(tmp_path,), nprocs=2)
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for number, case in enumerate(CASES):
        value, gradients = loss_and_gradients(case, slice(0, 16), wrap=False)
        mean = 0.5 * (both[0][number][0] + both[1][number][0])
        torch.testing.assert_close(mean, value, atol=1e-9, rtol=0)
        for name, gradient in gradients.items():
            for one in both:
                torch.testing.assert_close(
                    one[number][1][name], gradient, atol=1e-9, rtol=1e-9, msg=f"{case} {name}"
                )


# What does not fit is one line.


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method_kwargs.latent=whitened"], "one of plane, sphere, conditional"),
        (["method_kwargs.over=joint"], "needs two views"),
        (["method_kwargs.target=same"], "nothing against collapse"),
        (["method_kwargs.predictor=mlp"], "a transformer as its predictor"),
        (["method_kwargs.proj_output_dim=32"], "has no projector"),
        (["+method_kwargs.num_target=3"], "did you mean num_targets"),
        (["method_kwargs.num_targets=0"], "a whole number from 1"),
        (["method_kwargs.target_scale=[0.3,0.2]"], r"\[least, greatest\]"),
        (["method_kwargs.target_scale=0.2"], r"\[least, greatest\]"),
        (["method_kwargs.context_scale=[0.5,1.5]"], "at most 1"),
        (["method_kwargs.target_scale=[0.01,0.012]"], "no block of 8 × 8 patches"),
        (["method_kwargs.num_targets=6"], "lower it, num_targets or target_scale"),
        (["method_kwargs.positions=rotary"], "one of sincos, learned"),
        (["method_kwargs.normalise_patches=3"], "true or false"),
        (["method_kwargs.pred_num_heads=3"], "no multiple of"),
        (["method_kwargs.pred_embed_dim=6"], "a multiple of 4"),
        (["method_kwargs.entropy=sliced", "optimizer.batch_size=1"], "too small for this entropy"),
        (["backbone.name=resnet18"], "resnet18: .* plain vision transformers"),
        (["backbone.name=swin_tiny"], "swin_tiny: .* plain vision transformers"),
        (["backbone.name=vit_none"], "no timm model"),
        (["backbone.kwargs.patch_size=3"], "no whole number of patches"),
        (["+backbone.kwargs.img_size=32"], "is built for 32 pixels"),
        (["backbone.kwargs.class_token=true", "backbone.kwargs.global_pool=token"], "the mean of"),
        (["backbone.kwargs.fc_norm=true"], r"fc_norm=false"),
        (["+backbone.kwargs.patch_drop_rate=0.5"], "leaves out patches itself"),
        (["+backbone.kwargs.pos_embed=none"], "has no position embedding"),
        (["+momentum.base_tau=0.9"], "method_kwargs.base_tau"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_one_line(overrides, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet18", "convnet_small", "swin_tiny_patch4_window7_224"])
def test_other_networks_than_vision_transformers_are_refused_in_one_line(name):
    model = create_backbone(name, 224)
    with pytest.raises(ValueError, match=f"backbone.name={name}: .* plain vision") as caught:
        check_backbone(model, name, 224)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("crops", [(2, 0), (1, 4)])
def test_more_than_one_view_is_refused_in_one_line(crops):
    with pytest.raises(ValueError, match="takes one view"):
        build(num_large_crops=crops[0], num_small_crops=crops[1])


def test_settings_complete_themselves():
    settings = resolve({"proj_hidden_dim": None, "predictor": None})
    assert settings.cell.latent == "plane"
    assert settings.cell.target == "moving_average"
    assert settings.as_dict()["num_targets"] == 4
    assert "proj_output_dim" not in settings.as_dict()


def test_features_of_the_classifier_are_those_of_the_evaluation():
    method = build()
    images, kept, targets = images_and_masks(method)
    whole = method.match(images, kept, targets)[1]
    torch.testing.assert_close(method.backbone.forward_head(whole), method(images)["feats"])
    plain = create_backbone("vit_tiny", 16, **method.cfg.backbone.kwargs).eval()
    plain.load_state_dict(method.backbone.state_dict())
    torch.testing.assert_close(plain(images), method(images)["feats"])
