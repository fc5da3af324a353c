"""A method of a user's own, in a file of theirs, named in a YAML: the contract of base.py."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
import torch

from solo_ldm.cli import main
from solo_ldm.methods import find_method
from solo_ldm.run.callbacks.finite import StopAtNonFinite

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

METHODS = '''
    import torch
    from torch import nn

    from solo_ldm.config.arguments import check_arguments
    from solo_ldm.methods.base import OFF_THE_GRID, BaseMethod, Description, finish_step

    class Repulsion(nn.Module):
        """The squared distance of views, less that of other images, whose mean is a buffer."""

        def __init__(self, weight: float = 0.1) -> None:
            super().__init__()
            self.weight = weight
            self.register_buffer("mean", torch.zeros(8))

        def forward(self, z1, z2):
            self.mean.lerp_(z1.detach().mean(dim=0), 0.1)
            apart = (z1 - self.mean).square().mean().clamp_max(1.0)
            return (z1 - z2).square().mean() - self.weight * apart

    class MyMethod(BaseMethod):
        @classmethod
        def describe(cls, cfg):
            check_arguments("method_kwargs", cfg.method_kwargs, Repulsion)
            settings = dict(cfg.method_kwargs)
            return Description("repulsion", ("train_repulsion",), OFF_THE_GRID, settings, False)

        def __init__(self, cfg):
            super().__init__(cfg)
            self.projector = nn.Linear(self.features_dim, 8)
            self.objective = Repulsion(**cfg.method_kwargs)

        @property
        def learnable_params(self):
            projector = {"name": "projector", "params": self.projector.parameters()}
            return [*super().learnable_params, projector]

        def training_step(self, batch, batch_idx):
            out = super().training_step(batch, batch_idx)
            z = [self.projector(feats) for feats in out["feats"]]
            return finish_step(self, {"train_repulsion": self.objective(*z)}, z, out, len(batch[0]))

    class WithoutStep(BaseMethod):
        @classmethod
        def describe(cls, cfg):
            return None

    NUMBER = 3
'''

YAML = """
    defaults: [host, data: digits, _self_]
    method: my_methods.MyMethod
    name: mine
    method_kwargs: {weight: 0.2}
    backbone: {kwargs: {width: 8}}
    data: {num_workers: 0, fraction: 0.2}
    optimizer: {batch_size: 64}
    scheduler: {warmup_epochs: 1}
    max_epochs: 2
    evaluation: {protocols: [linear-online, knn-20], report: false}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a method and its configuration, as the current directory."""
    (tmp_path / "my_methods.py").write_text(textwrap.dedent(METHODS))
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    (tmp_path / "mine.yaml").write_text(textwrap.dedent(YAML))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_methods", None)


def run(own, folder: str, *overrides: str):
    arguments = ["--config-path", ".", "--config-name", "mine", f"checkpoint.dir={folder}"]
    main(["pretrain", *arguments, *overrides])
    (results,) = (own / folder).rglob("results.json")
    (last,) = (own / folder).rglob("last.ckpt")
    return json.loads(results.read_text()), torch.load(last, weights_only=True)["state_dict"]


def test_a_method_of_a_users_own_trains_resumes_and_is_evaluated(own, monkeypatch):
    results, expected = run(own, "whole")
    assert results["method"] == "my_methods.MyMethod"
    assert (results["headline"], results["settings"]) == ("repulsion", {"weight": 0.2})
    assert results["final_terms"].keys() == {"repulsion"}
    assert {"linear-online", "knn-20"} == results["results"].keys()
    assert {"z_std", "z_alignment", "feats_effective_rank"} <= results["health"].keys()
    assert expected["objective.mean"].abs().sum() > 0

    look = StopAtNonFinite.on_train_batch_end

    def interrupted(self, trainer, *rest):
        look(self, trainer, *rest)
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")

    with monkeypatch.context() as cut:
        cut.setattr(StopAtNonFinite, "on_train_batch_end", interrupted)
        with pytest.raises(RuntimeError, match="power cut"):
            run(own, "cut")
    _, resumed = run(own, "cut")
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_module.MyMethod", "got no_module.MyMethod: there is no module no_module; run where"),
        ("broken.MyMethod", "there is no module no_such_package"),
        ("my_methods.MyMethd", "module 'my_methods' has no attribute 'MyMethd'"),
        ("my_methods.NUMBER", "expected a subclass of solo_ldm.methods.base.BaseMethod, got my_m"),
        ("my_methods.Repulsion", "expected a subclass of solo_ldm.methods.base.BaseMethod"),
        ("my_methods.WithoutStep", "my_methods.WithoutStep lacks training_step"),
        ("gausprob", "or my_module.MyMethod, got 'gausprob': did you mean gaussprob"),
    ],
)
def test_a_name_that_is_no_method_is_one_line(own, name, message):
    with pytest.raises(ValueError, match=message) as caught:
        find_method(name)
    assert str(caught.value).startswith("method: ")
    assert "\n" not in str(caught.value)


def test_a_setting_that_it_does_not_have_is_one_line(own, capsys):
    with pytest.raises(SystemExit):
        run(own, "none", "method_kwargs.wait=1")
    assert "unknown key method_kwargs.wait: did you mean weight?" in capsys.readouterr().err
    assert not (own / "none").exists()
