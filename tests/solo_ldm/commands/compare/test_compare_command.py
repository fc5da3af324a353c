"""The command `compare`: the packaged comparisons, and refusals in one line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_ldm.cli import main
from solo_ldm.commands.compare import runs as compare_runs
from solo_ldm.commands.compare.differences import budget_differences, budget_of
from solo_ldm.commands.compare.entries import prepare_entries
from solo_ldm.commands.compare.schema import complete_compare
from solo_ldm.run.callbacks.finite import NonFiniteLossError
from solo_ldm.run.configuration import complete
from tests.solo_ldm.commands.compare.test_comparison_runs import toy_comparison
from tests.support import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


def packaged(name: str, folder: Path | None = None) -> DictConfig:
    arguments = SimpleNamespace(name=name, overrides=[])
    if folder is None:
        with initialize_config_module("solo_ldm.configs", version_base="1.3"):
            return complete_compare(compose(name))
    search = "hydra.searchpath=[pkg://solo_ldm.configs]"
    with initialize_config_dir(str(folder), version_base="1.3"):
        return complete_compare(compose(arguments.name, overrides=[search]))


def test_the_default_comparison_is_ten_methods_and_three_seeds_under_one_budget():
    cfg = packaged("compare")
    assert len(cfg.methods) >= 10
    assert len(cfg.seeds) == 3
    cfg.seeds = cfg.seeds[:1]  # the budget is that of an entry's first
    assert budget_differences(prepare_entries(cfg)) == {}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["data=cifar10", "data.train_path=/data"], "cifar10"),
        (["data.train_path=my/captions.csv", "max_epochs=1"], "captions"),
        (["max_epochs=1"], "comparison"),
    ],
)
def test_a_comparison_is_called_by_its_data(overrides, name):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose("compare")
    cfg.overrides = overrides
    found = complete_compare(cfg)
    assert (found.name, found.output) == (name, f"comparisons/{name}")


def test_the_comparison_of_cells_is_the_papers_twelve():
    cfg = packaged("cells", ROOT / "scripts" / "compare")
    cfg.seeds = cfg.seeds[:1]
    entries = prepare_entries(cfg)
    assert {entry.cell for entry in entries} == {
        f"{latent}, {entropy}, {over}"
        for latent in ("plane", "sphere")
        for entropy in ("kernel", "neighbour", "logdet")
        for over in ("joint", "marginal")
    }
    assert all(entry.label == entry.cell for entry in entries)


def test_the_comparison_on_real_images_has_the_budget_of_two_cores():
    cfg = packaged("cifar10_jpeg", ROOT / "scripts" / "compare")
    labels = [one if isinstance(one, str) else one.label for one in cfg.methods]
    cells = packaged("cells", ROOT / "scripts" / "compare").methods
    assert labels[:12] == [one.label for one in cells]
    assert labels[-1] == "supervised"
    cfg.methods, cfg.seeds, cfg.train = cfg.methods[:1], [0], False
    (entry,) = prepare_entries(cfg)
    with initialize_config_dir(str(ROOT / "scripts" / "pretrain" / "cifar"), version_base="1.3"):
        search = ["hydra.searchpath=[pkg://solo_ldm.configs]"]
        two_cores, one_gpu = (complete(compose(one, search)) for one in ("two_cores", "one_gpu"))
    own, others = (budget_of(OmegaConf.to_container(one)) for one in (entry.cfg, two_cores))
    differing = {key for key in {*own, *others} if own.get(key) != others.get(key)}
    # The fused form of AdamW differs by rounding; the comparison's records are of the other one.
    assert differing == {"evaluation.protocols", "optimizer.kwargs.fused"}
    assert one_gpu.method == two_cores.method
    assert one_gpu.data == {**two_cores.data, "device": "gpu"}


def test_a_configuration_of_the_users_own_takes_part(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "defaults:\n  - gaussprob\n  - _self_\nmethod_kwargs:\n  entropy: logdet\n"
    )
    cfg = complete_compare(toy_comparison(tmp_path, methods=["mine", "gaussprob"]))
    entries = prepare_entries(cfg, tmp_path)
    assert [entry.cell for entry in entries] == [
        "plane, logdet, marginal",
        "plane, kernel, marginal",
    ]


TWICE = "methods=[simclr,{config: simclr,label: again}]"
# Of an entry's overrides, and what the line says after the entry's label.
REFUSED_OF_AN_ENTRY = {
    "optimizer.lrr=1": "unknown key optimizer.lrr: did you mean optimizer.lr?",
    "method_kwargs.entropy=no": "method_kwargs.entropy: expected kernel",
    "method=lightly/none_such": "none_such",
    "optimizer.name=no": "optimizer.name",
    "backbone.name=no": "backbone",
    "optimizer.batch_size=9999": "batch",
    "devices=2": "expected one process",
    "data.no_labels=true": "expected labelled validation images, got none in digits",
}
REFUSED = {
    "methods=[]": "methods: expected at least one",
    "methods=[gausprob]": "gausprob: expected the name of a configuration",
    "methods=[simclr,simclr]": "methods: expected distinct entries, got simclr 2 times",
    TWICE: "simclr and again are the same configuration",
    "methods=[{label: x}]": "methods.0: expected the name of a configuration",
    "methods=[{config: byol,lable: x}]": "unknown key methods.0.lable: did you mean",
    "methods=[{config: byol,label: x,overrides: ['seed=2']}]": "set seeds of the comparison",
    "overrides=['evaluation.protocols=[]']": "set protocols of the comparison",
    "overrides=['data']": "overrides: expected key=value",
    "seeds=[0,0]": "seeds: expected distinct entries, got 0 2 times",
    "seeds=[-1]": "seeds: expected a whole number from 0",
    "protocols=[knn-21]": "knn-21",
    "rank_by=linear-online": "rank_by: expected one of protocols",
    "jobs=0": "jobs: expected a number from 1",
    "job=2": "unknown key job: did you mean jobs?",
}


def refusal(arguments: list[str], capsys: Any) -> str:
    """The one line with which a command is refused."""
    with pytest.raises(SystemExit) as stopped:
        main(["compare", *arguments])
    assert stopped.value.code == 2
    shown = capsys.readouterr()
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1, shown.err
    return lines[0]


@pytest.mark.parametrize("override", REFUSED)
def test_what_is_wrong_is_one_line_before_any_run(override, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert REFUSED[override] in refusal([override], capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("override", REFUSED_OF_AN_ENTRY)
def test_what_is_wrong_with_an_entry_is_said_with_its_label(
    override, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    methods = f"methods=[simclr,{{config: byol,label: mine,overrides: ['{override}']}}]"
    line = refusal([methods], capsys)
    assert line.startswith("error: mine: ")
    assert REFUSED_OF_AN_ENTRY[override] in line
    assert not list(tmp_path.iterdir())


def test_the_command_leaves_with_code_1_where_runs_failed(tmp_path, capsys, monkeypatch):
    def fails(cfg: DictConfig, console: Console) -> Any:
        raise NonFiniteLossError("no number")

    monkeypatch.setattr(compare_runs, "pretrain", fails)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "methods=[simclr]", "seeds=[0]", "name=lost"])
    assert stopped.value.code == 1
    assert "simclr, seed 0: no number" in capsys.readouterr().out
    assert (tmp_path / "comparisons" / "lost" / "table.md").exists()
