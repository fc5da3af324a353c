"""An encoder that is a network of images: what it sees, finds and leaves behind."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from predictive import KalmanSSL
from predictive.commands.latents import latents
from predictive.configuration import complete_predictive
from predictive.data.simulated.moving_dot import moving_dot
from predictive.encoder import Encoder
from predictive.runs import read_run
from predictive.training import build_data, build_method
from solo_ldm.config.command import composed_of
from solo_ldm.run.hardware import single_device
from solo_ldm.zoo import load
from tests.support.predictive.runs import assert_same, config, die_at, run, trained

CONV = ("encoder.backbone=convnet_small", "+encoder.backbone_kwargs.width=4")
TINY = ("max_epochs=1", "predictor.latent_dim=3", "encoder.hidden_dim=8")


def encoder(**settings) -> Any:
    torch.manual_seed(0)
    given = {"backbone": "convnet_small", "backbone_kwargs": {"width": 2}, **settings}
    return Encoder(2 * 6 * 8, 3, frame_shape=(2, 6, 8), **given)


def test_each_frame_is_seen_by_itself_as_channels_rows_and_columns():
    one = encoder().eval()
    x = torch.randn(4, 5, 2 * 6 * 8)
    z = one(x)
    assert z.shape == (4, 5, 3)
    maps = one.backbone.network.forward_features(x[1, 2].reshape(1, 2, 6, 8)).flatten(1)
    torch.testing.assert_close(z[1, 2], one.network(maps)[0], atol=1e-6, rtol=0)
    pooled = encoder(pooling="own").eval()
    features = pooled.backbone.network(x[1, 2].reshape(1, 2, 6, 8))
    torch.testing.assert_close(pooled(x)[1, 2], pooled.network(features)[0], atol=1e-6, rtol=0)


def test_the_mean_of_the_past_is_seen_as_further_channels():
    one = encoder(history=2.0).eval()
    assert one.backbone.network.layers[0].in_channels == 4
    assert one(torch.randn(2, 5, 96)).shape == (2, 5, 3)


def test_batch_normalisation_does_not_see_frames_that_are_not_there():
    one, other = encoder().train(), encoder().train()
    x, there = torch.randn(2, 5, 96), torch.ones(2, 5, dtype=torch.bool)
    there[1, 3:] = False
    padded = x.masked_fill(~there[..., None], 1e6)
    seen, alone = one(padded, None, there)[there], other(x[there][None])[0]
    torch.testing.assert_close(seen, alone, atol=1e-6, rtol=0)
    assert_same(one.state_dict(), other.state_dict())


def test_the_scale_of_bytes_is_that_of_their_floats_whole_or_in_parts(monkeypatch):
    x = torch.randint(0, 256, (3, 7, 96), dtype=torch.uint8)
    mask = torch.arange(7) < torch.tensor([7, 4, 5])[:, None]
    bytes_, floats, parts = encoder(), encoder(), encoder()
    bytes_.fit_scale(x, mask)
    floats.fit_scale(x.float() / 255, mask)
    monkeypatch.setattr("predictive.encoder._AT_ONCE", 1)
    parts.fit_scale(x, mask)
    assert torch.equal(bytes_.mean, floats.mean)
    assert torch.equal(bytes_.scale, floats.scale)
    torch.testing.assert_close(parts.mean, floats.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(parts.scale, floats.scale, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("overrides", "name", "words"),
    [
        (["encoder.backbone=convnet_smal"], "figure8", "encoder.backbone=convnet_smal is no timm"),
        (["encoder.backbone=convnet_small"], "place_cells", "expected null for data.dataset=place"),
        (["encoder.pooling=own"], "figure8", "encoder.pooling: expected null without encoder.back"),
        ([*CONV, "encoder.frame_shape=[3,4,5]"], "figure8", r"expected null or \[1, 6, 6\]"),
        ([*CONV, "+encoder.backbone_kwargs.in_chans=3"], "figure8", "in_chans: expected none"),
        ([*CONV, "+encoder.backbone_kwargs.depth=3"], "figure8", "encoder.backbone_kwargs: expec"),
    ],
)
def test_what_does_not_fit_frames_is_one_line(tmp_path, overrides, name, words):
    with pytest.raises(ValueError, match=words) as error:
        run(tmp_path, *overrides, name=name)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


SMALL = (
    *("data.num_train=256", "data.num_held_out=16", "data.num_steps=20", "max_epochs=5"),
    *("data.frame_size=10", "~decoders.frames", "data.observation_noise=0.01"),
)


def test_the_packaged_convolutional_encoder_finds_the_state_as_well_as_the_mlp_does(tmp_path):
    same = ("objective.entropy=logdet", "optimizer.batch_size=16", "optimizer.lr=0.03")
    found = {
        name: {
            score["features"]: score["r2"]
            for score in run(tmp_path / name, *SMALL, *more, name=name).results["results"][
                "decoding"
            ]["position"]
        }
        for name, more in (("figure8", same), ("figure8_frames", ()))
    }
    conv, mlp = found["figure8_frames"], found["figure8"]
    assert conv["latent state"] > mlp["latent state"] - 0.05
    assert conv["latent state"] > conv["untrained state"] + 0.2
    assert conv["latent state"] > 0.9


def test_a_run_resumes_bit_for_bit_and_its_weights_are_read_without_data(tmp_path, monkeypatch):
    settings = (*CONV, "encoder.hidden_dim=8")
    whole = run(tmp_path / "whole", *settings)
    with monkeypatch.context() as patch:
        die_at(patch, 6)
        with pytest.raises(InterruptedError):
            run(tmp_path / "parts", *settings)
    parts = run(tmp_path / "parts", *settings)
    assert_same(trained(parts.folder), trained(whole.folder))
    cfg, method = read_run(whole.folder.path)
    assert list(cfg.encoder.frame_shape) == [1, 6, 6]
    state = trained(whole.folder)["state_dict"]
    for key, value in method.encoder.state_dict().items():
        assert torch.equal(value, state[f"encoder.{key}"]), key
    x = torch.rand(2, 5, 36)
    model: Any = KalmanSSL.load(whole.folder.path)
    states = model.transform(list(x.numpy()))
    published: Any = load(str(whole.folder.path))
    torch.testing.assert_close(torch.from_numpy(states[1]), published.features(x)[1])
    model.save(tmp_path / "model.safetensors")
    assert (
        KalmanSSL.load(tmp_path / "model.safetensors").transform(x[0].numpy()) == states[0]
    ).all()


def test_the_estimator_takes_frames_as_rows_and_steps_through_them(tmp_path):
    x = moving_dot(num_train=8, num_steps=30, frame_size=6, seed=1).train.inputs
    settings = {"encoder.backbone": "convnet_small", "encoder.backbone_kwargs": {"width": 4},
                "encoder.frame_shape": [1, 6, 6]}  # fmt: skip
    model = KalmanSSL(latent_dim=3, max_epochs=2, hidden_dim=8, settings=settings)
    model.fit(list(x.numpy()))
    states = model.transform(x[0].numpy())
    stepped = np.stack([model.step(one).mean for one in x[0].numpy()])
    np.testing.assert_allclose(stepped, states, atol=1e-5)
    model.save(tmp_path / "model.safetensors")
    again = KalmanSSL.load(tmp_path / "model.safetensors")
    assert (again.transform(x[0].numpy()) == states).all()


def written(folder: Path, as_bytes: bool) -> list[str]:
    """Write the simulated dot as clips of images with a table; return the settings for them."""
    data = moving_dot(num_train=32, num_held_out=8, num_steps=12, frame_size=6, seed=5)
    rows = []
    order = [("held_out", i // 5) if i % 5 == 0 else ("train", i - i // 5 - 1) for i in range(40)]
    for i, (part, j) in enumerate(order):
        sequences = getattr(data, part)
        clip = folder / "video" / f"{i}"
        clip.mkdir(parents=True)
        for t, one in enumerate(sequences.inputs[j].reshape(12, 6, 6).numpy()):
            image = (one.clip(0, 1) * 255).round().astype(np.uint8) if as_bytes else one
            Image.fromarray(image).save(clip / f"{t}.{'png' if as_bytes else 'tif'}")
            position = sequences.targets["position"][j, t].tolist()
            rows.append([f"video/{i}", *(repr(value) for value in position)])
    with (folder / "targets.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["clip", "position_0", "position_1"], *rows])
    place = [f"data.path={folder}/video", f"data.targets_path={folder}/targets.csv"]
    return [*place, "data.frame_rate=10", "data.frame_size=null", "data.window=null"]


SAME = (
    *(*CONV, "encoder.hidden_dim=8", "objective.entropy=logdet", "objective.num_samples=512"),
    *("predictor.latent_dim=3", "predictor.state_dim=4", "objective.first_step=0", "max_epochs=3"),
    *("optimizer.name=adam", "optimizer.batch_size=8", "optimizer.lr=0.01", "seed=5"),
    *("evaluation.kinds=[linear]", "predictor.initial_transition=null"),
    *("predictor.initial_process_noise=1.0", "optimizer.multipliers.filter=100"),
    "checkpoint.frequency=1",
)


def test_frames_written_from_the_simulation_train_to_the_same_weights_bit_for_bit(tmp_path):
    simulated = run(tmp_path / "a", *SAME, "~decoders.position", "~decoders.frames")
    places = written(tmp_path, as_bytes=False)
    keys = [key.replace("+encoder", "encoder") for key in SAME]
    stored = run(tmp_path / "b", *keys, *places, name="frames")
    assert_same(trained(stored.folder)["state_dict"], trained(simulated.folder)["state_dict"])
    scores = [one.results["results"]["decoding"]["position"] for one in (stored, simulated)]
    assert scores[0] == scores[1]
    # The latents of the run, and of other clips.
    same = latents(
        composed_of("latents", None, [f"run={stored.folder.path}"], "predictive.configs")
    )
    found = np.load(same.folder.path / "latents.npz")
    assert found["target_position"].shape == (480, 2)
    other = [f"run={stored.folder.path}", f"+data.path={tmp_path}/video/7"]
    there = latents(composed_of("latents", None, other, "predictive.configs"))
    alone = np.load(there.folder.path / "latents.npz")
    assert alone["states"].shape == (12, 4)
    rows = (found["states"][None, :, 0] == alone["states"][:, None, 0]).any(axis=1)
    assert rows.all()
    assert json.loads(there.folder.results.read_text())["clips"] == ["7"]


def test_frames_of_bytes_train_to_nearly_the_same_and_stay_bytes(tmp_path):
    places = written(tmp_path, as_bytes=True)
    keys = [key.replace("+encoder", "encoder") for key in SAME]
    cfg = config(tmp_path / "b", *keys, *places, name="frames")
    cfg = complete_predictive(cfg)
    data = build_data(cfg)
    assert data.train.inputs.dtype == torch.uint8
    simulated = moving_dot(num_train=32, num_held_out=8, num_steps=12, frame_size=6, seed=5)
    clipped = simulated.train.inputs.clamp(0, 1)
    assert (data.train.inputs / 255 - clipped).abs().max() < 0.5 / 255 + 1e-6
    method = build_method(cfg, data, single_device("cpu"))
    torch.testing.assert_close(
        method.encoder.mean, clipped.flatten(0, 1).mean(dim=0), atol=2e-3, rtol=0
    )
