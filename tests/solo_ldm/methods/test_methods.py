"""Methods: settings, aliases, the solo-learn contract, health."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from omegaconf import DictConfig

from solo_ldm.entropy import ENTROPIES, NoEntropy
from solo_ldm.methods import find_method
from solo_ldm.methods.ldm.body import LDMBody
from solo_ldm.methods.ldm.direct import DirectPredictor
from solo_ldm.methods.ldm.method_kwargs import REFERENCE_TYPES, resolve
from solo_ldm.methods.ldm.settings import LDMSettings
from tests.support.methods.cells import TWELVE
from tests.support.methods.configurations import SIZES, method_config

# Names of the authors' losses: estimator, what it is taken over, and entropy_weight where their
# entropy_multiplier is 3, of which the marginal entropies have half each.
AUTHORS = {
    "single_sample": ("kernel", "marginal", 1.5),
    "dual_sample": ("kernel", "joint", 1.0),
    "single_knn": ("neighbour", "marginal", 1.5),
    "dual_knn": ("neighbour", "joint", 1.0),
    "single_gauss": ("logdet_expansion", "marginal", 3.0),
    "dual_gauss": ("logdet_expansion", "pooled", 2.0),
}


def test_reference_names_are_understood():
    assert REFERENCE_TYPES.keys() == AUTHORS.keys()
    for kind, (entropy, over, weight) in AUTHORS.items():
        theirs = resolve({**SIZES, "loss": {"type": kind, "entropy_multiplier": 3.0}}, "sphere")
        cell = {"entropy": entropy, "over": over, "entropy_weight": weight}
        assert theirs == resolve({**SIZES, **cell}, "sphere"), kind


def test_authors_names_that_do_not_exist_are_one_line():
    for loss, message in (
        ("dual_knn", "method_kwargs.loss: expected"),
        ({"type": "triple_knn"}, "method_kwargs.loss.type: expected dual_sample"),
        ({}, "method_kwargs.loss.type: expected dual_sample"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            resolve({**SIZES, "loss": loss}, "sphere")
        assert "\n" not in str(error.value)


def test_blocks_beside_another_latent_are_no_part_of_it():
    blocks = [{"latent": "plane", "dim": 3}]
    assert resolve({**SIZES, "blocks": blocks}, "sphere") == resolve(SIZES, "sphere")


def test_a_cell_is_named_by_its_choices():
    plain = resolve(SIZES, "sphere")
    assert plain.headline == "kernel entropy, joint, on the sphere"
    assert (plain.support, plain.axes) == (
        "sphere",
        {
            "latent": "sphere",
            "entropy": "kernel",
            "over": "joint",
            "predictor": "none",
            "target": "same",
        },
    )
    byol = {"entropy": "none", "predictor": "mlp", "target": "moving_average"}
    named = resolve({**SIZES, **byol}, "plane")
    assert named.headline == "no entropy, on the plane, mlp predictor, moving average target"
    assert named.axes["over"] is None
    for latent, place in (
        ("prototypes", "prototypes on the sphere"),
        ("prototypes_plane", "prototypes on the plane"),
        ("mean_direction", "mean direction on the sphere"),
    ):
        settings = {**SIZES, "latent": latent, "over": "marginal"}
        assert resolve(settings).headline == f"kernel entropy, marginal, {place}"
    blocks = [{"latent": "plane", "dim": 3, "entropy": "logdet"}, {"latent": "sphere", "dim": 2}]
    product = resolve({"proj_hidden_dim": 8, "latent": "product", "blocks": blocks})
    assert product.support == "product"
    assert product.headline == (
        "plane of 3 (logdet entropy, joint) × sphere of 2 (kernel entropy, joint)"
    )
    assert (product.entropy, product.over) == ("logdet × kernel", "joint")


def test_recognition_precision_is_the_kernel_precision_of_the_reference():
    theirs = resolve({**SIZES, "recognition_precision": 2.5}, "sphere")
    assert theirs.entropy_kwargs == {"kernel_precision": 2.5}


@pytest.mark.parametrize(("support", "entropy", "over"), TWELVE)
def test_prediction_precision_defaults_to_the_papers(support, entropy, over):
    settings = resolve({**SIZES, "entropy": entropy, "over": over}, support)
    expected = 12.5 if (support, entropy) == ("plane", "neighbour") else 5.0
    assert settings.prediction_precision == expected


def test_overriding_the_entropy_alone_keeps_only_its_own_settings():
    everything = {**SIZES, "kernel_precision": 7.0, "num_neighbours": 2, "ridge": 1e-3}
    objective = resolve({**everything, "entropy": "neighbour"}, "plane").build_objective()
    assert objective.entropy.num_neighbours == 2
    objective = resolve({**everything, "entropy": "logdet"}, "plane").build_objective()
    assert objective.entropy.ridge == 1e-3


@pytest.mark.parametrize("name", ["gaussprob", "sphereprob", "ldm"])
def test_forward_returns_features_latents_on_the_support_and_logits(tmp_path, name):
    method = find_method(name)(method_config(tmp_path, name))
    out = method(torch.randn(6, 3, 16, 16))
    assert out["feats"].shape == (6, method.features_dim)
    assert out["logits"].shape == (6, 10)
    torch.testing.assert_close(out["z"], method.objective.latent.project(out["z"]))


def test_labels_never_reach_the_backbone(tmp_path):
    method = find_method("gaussprob")(method_config(tmp_path))
    method(torch.randn(6, 3, 16, 16))["logits"].sum().backward()
    assert all(p.grad is None for p in method.backbone.parameters())
    assert all(p.grad is not None for p in method.classifier.parameters())


def test_every_parameter_is_learned_in_exactly_one_named_group(tmp_path):
    method = find_method("sphereprob")(method_config(tmp_path, "sphereprob", predictor="linear"))
    groups = method.learnable_params
    assert [group["name"] for group in groups] == [
        "backbone",
        "classifier",
        "projector",
        "predictor",
    ]
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in method.parameters())


def test_the_projector_is_the_references(tmp_path):
    method = find_method("gaussprob")(method_config(tmp_path, proj_batch_norm=False))
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "ReLU", "Linear"]


def test_an_identity_predictor_changes_nothing(tmp_path):
    method = find_method("gaussprob")(method_config(tmp_path, predictor="linear"))
    torch.nn.init.eye_(method.predictor.weight)
    torch.nn.init.zeros_(method.predictor.bias)
    views = [torch.randn(8, 16), torch.randn(8, 16)]
    predicted = method.match(views)
    method.predictor = None
    torch.testing.assert_close(predicted, method.match(views))


def test_more_crops_average_the_pairs_that_hold_a_large_one(tmp_path):
    cfg = method_config(tmp_path)
    cfg.data.num_small_crops = 1
    method = find_method("gaussprob")(cfg)
    views = [torch.randn(8, 16) for _ in range(3)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = sum(method.objective(views[i], views[j]).loss for i, j in pairs) / 3
    torch.testing.assert_close(method.match(views).loss, expected)


class ForeignHost(torch.nn.Module):
    """What LDMBody asks of a host, without ours: the contract it shares with solo-learn's."""

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.cfg = self.add_and_assert_specific_cfg(cfg)
        self.backbone = torch.nn.Linear(5, 7)
        self.features_dim = 7
        self.num_large_crops = 2
        self.logged: dict[str, torch.Tensor] = {}

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        return cfg

    @property
    def learnable_params(self):
        return [{"name": "backbone", "params": self.backbone.parameters()}]

    def forward(self, X):
        return {"feats": self.backbone(X), "logits": torch.zeros(len(X), 1)}

    def training_step(self, batch, batch_idx):
        outs = [self(x) for x in batch[1]]
        return {"loss": torch.tensor(2.0), **{k: [o[k] for o in outs] for k in outs[0]}}

    def log_dict(self, metrics, **kwargs):
        self.logged.update(metrics)
        self.logged_for = kwargs["batch_size"]


def test_the_body_runs_on_a_host_of_solo_learns_kind(tmp_path):
    class Foreign(LDMBody, ForeignHost):
        latent = "sphere"

    method = Foreign(method_config(tmp_path, "sphereprob"))
    crops = [torch.randn(8, 5), torch.randn(8, 5)]
    out = method.training_step([torch.arange(8), crops, torch.zeros(8)], 0)
    out["loss"].backward()
    assert method.backbone.weight.grad is not None
    expected = method.match([method(crop)["z"] for crop in crops]).loss + 2.0
    torch.testing.assert_close(out["loss"], expected)
    assert {"train_ldm_loss", "train_log_prob", "train_entropy"} <= set(method.logged)
    assert method.logged_for == 8


def test_before_each_step_the_objective_is_told_how_far_the_training_is(tmp_path, monkeypatch):
    method, told = find_method("gaussprob")(method_config(tmp_path)), []
    method._trainer = SimpleNamespace(estimated_stepping_batches=10, global_step=4)
    monkeypatch.setattr(method.objective, "at", lambda *where: told.append(where))
    method.on_train_batch_start(None, 0)
    assert told == [(0.4, 4)]


def test_targets_of_a_moving_average_are_its_latents_of_each_crop(tmp_path):
    method = find_method("sphereprob")(
        method_config(tmp_path, "sphereprob", predictor="linear", target="moving_average")
    ).eval()
    crops = [torch.randn(4, 3, 16, 16) for _ in range(2)]
    found = method.targets(crops, [])
    for crop, target in zip(crops, found, strict=True):
        expected = method.objective.latent.project(method.target(crop))
        torch.testing.assert_close(target, expected)
        assert not target.requires_grad
    (alone,) = method.targets(crops[0], [])
    torch.testing.assert_close(alone, found[0])


def test_a_linear_predictor_has_the_outputs_that_the_latent_model_takes(tmp_path):
    cfg = method_config(
        tmp_path, "ldm", latent="conditional", predictor="linear", entropy="none", target="detached"
    )
    assert find_method("ldm")(cfg).predictor.weight.shape == (32, 16)


def test_settings_of_an_own_estimator_must_be_given(monkeypatch):
    class Own(NoEntropy):
        def __init__(self, support, width: int) -> None:
            super().__init__(support)

    monkeypatch.setitem(ENTROPIES, "own", Own)
    with pytest.raises(ValueError, match=r"missing key method_kwargs.width"):
        resolve({**SIZES, "entropy": "own"}, "plane")


def test_values_of_estimators_that_are_not_chosen_are_checked_where_they_stand():
    blocks = [{"latent": "plane", "dim": 3}, {"latent": "sphere", "dim": 2}]
    product = {"proj_hidden_dim": 8, "latent": "product", "blocks": blocks}
    with pytest.raises(ValueError, match=r"^method_kwargs.num_neighbours: expected"):
        resolve({**product, "num_neighbours": 0})
    blocks[1]["num_neighbours"] = 0
    with pytest.raises(ValueError, match=r"^method_kwargs.blocks.1.num_neighbours: expected"):
        resolve(product)
    blocks[1] |= {"num_neighbours": 2, "entropy_weight": "much", "loss": {"type": "dual_gauss"}}
    with pytest.raises(ValueError, match=r"entropy_weight: expected a number"):
        resolve(product)


def test_a_batch_has_the_samples_that_its_estimator_needs(tmp_path):
    for kwargs, fewest in (({"entropy": "neighbour"}, 4), ({"entropy": "kernel"}, 2)):
        cfg = method_config(tmp_path, **kwargs)
        cfg.optimizer.batch_size = fewest
        find_method("gaussprob").settings(cfg)
        cfg.optimizer.batch_size = fewest - 1
        message = f"optimizer.batch_size: expected at least {fewest} for entropy="
        with pytest.raises(ValueError, match=message):
            find_method("gaussprob").settings(cfg)
    cfg = method_config(tmp_path, proj_output_whitening=True)
    cfg.optimizer.batch_size = 17
    find_method("gaussprob").settings(cfg)
    cfg.optimizer.batch_size = 16
    with pytest.raises(ValueError, match="expected more than 16, to whiten"):
        find_method("gaussprob").settings(cfg)


def test_a_cell_has_the_defaults_that_are_documented():
    cell = LDMSettings("plane", 8, 4)
    assert (cell.entropy, cell.over, cell.entropy_weight) == ("kernel", "joint", 1.0)
    assert (cell.proj_layers, cell.proj_batch_norm, cell.proj_output_batch_norm) == (
        2,
        False,
        False,
    )
    assert (cell.proj_output_whitening, cell.predictor, cell.target) == (False, "none", "same")
    assert (cell.pred_hidden_dim, cell.pred_batch_norm) == (512, True)
    assert cell.headline == "kernel entropy, joint, on the plane"
    direct = DirectPredictor(3)
    assert (cell.direct_momentum, cell.direct_ridge) == (direct.momentum, direct.ridge)
    assert (direct.momentum, direct.ridge) == (0.3, 0.01)
    assert (cell.base_tau, cell.final_tau) == (0.99, 1.0)
