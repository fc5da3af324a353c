"""Build the zoo: train, score and publish each recipe of recipes.yaml.

    uv run python scripts/zoo/build.py [NAME ...] [--data FOLDER] [--override KEY=VALUE ...]

Without names: all that can be made on this machine. After an interruption, the same command
continues; finished runs are not repeated, and publishing the same runs again changes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from predictive.commands.predictive import predictive
from predictive.configuration import complete_predictive
from solo_ldm.commands.linear import linear
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.commands.shared.progress import progress_bar
from solo_ldm.config.command import HydraCommand
from solo_ldm.config.errors import one_line_errors
from solo_ldm.config.suggestions import suggestion
from solo_ldm.run.configuration import complete
from solo_ldm.run.folder import find_finished
from solo_ldm.zoo.backbones import BackboneKind
from solo_ldm.zoo.cards import scores_line
from solo_ldm.zoo.publishing import publish

ROOT = Path(__file__).resolve().parents[2]

# What trains, and what completes its configuration.
COMMANDS: dict[str, tuple[HydraCommand, Callable[[DictConfig], DictConfig]]] = {
    "pretrain": (pretrain, complete),
    "predictive": (predictive, complete_predictive),
}


@dataclass(frozen=True)
class Recipe:
    """How an entry is made; see recipes.yaml."""

    command: str
    config: str
    seeds: list[int]
    licence: str
    config_path: str | None = None
    overrides: list[str] = field(default_factory=list)
    linear_offline: bool = False
    training_state: bool = False
    needs: str | None = None
    dataset: str | None = None
    folder: bool = False
    reference: Mapping[str, Any] = field(default_factory=dict)


def main() -> None:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description="Train, score and publish the zoo's models.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--data", metavar="FOLDER", help="of images, for recipes that need it")
    parser.add_argument("--linear-offline", action="store_true", help="score by this protocol too")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--zoo", type=Path, default=ROOT / "zoo", help="where to publish")
    parser.add_argument("--runs", default="trained_models/zoo", help="where runs are kept")
    given = parser.parse_args()
    with one_line_errors():
        failed = build(given, Console())
    sys.exit(1 if failed else 0)


def build(given: argparse.Namespace, console: Console) -> list[str]:
    """Make the entries that were asked for; return the names of those that failed."""
    recipes = read_recipes()
    for name in given.names:
        if name not in recipes:
            raise ValueError(f"no recipe {name!r}{suggestion(name, list(recipes))}")
    chosen = {name: recipes[name] for name in given.names or recipes}
    failed = []
    for number, (name, recipe) in enumerate(chosen.items(), start=1):
        reason = _missing(recipe, given)
        if reason:
            console.print(f"[yellow]{name} left out: {reason}[/]")
            continue
        console.rule(f"{name} ({number} of {len(chosen)})")
        try:
            _make(name, recipe, given, console)
        except (ValueError, FileNotFoundError) as error:
            console.print(f"[red]{name}: {error}[/]", soft_wrap=True)
            failed.append(name)
    console.print("next: solo-ldm zoo verify")
    return failed


def read_recipes() -> dict[str, Recipe]:
    """Return the recipes by name."""
    content: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("recipes.yaml")))
    return {name: Recipe(**one) for name, one in content.items()}


def configuration(recipe: Recipe, seed: int, overrides: list[str]) -> DictConfig:
    """Compose the configuration of one run of a recipe."""
    package = COMMANDS[recipe.command][0].package
    overrides = [*recipe.overrides, f"seed={seed}", *overrides]
    if recipe.config_path is None:
        return _composed(package, recipe.config, overrides)
    GlobalHydra.instance().clear()
    search = f"hydra.searchpath=[pkg://{package}]"
    with initialize_config_dir(str(ROOT / recipe.config_path), version_base="1.3"):
        return compose(recipe.config, overrides=[search, *overrides])


def _composed(package: str, name: str, overrides: list[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_module(package, version_base="1.3"):
        return compose(name, overrides=overrides)


def _missing(recipe: Recipe, given: argparse.Namespace) -> str | None:
    if recipe.needs == "gpu" and not torch.cuda.is_available():
        return "it needs a GPU"
    if recipe.folder and given.data is None:
        return f"it needs --data FOLDER, of {recipe.dataset}"
    return None


def _make(name: str, recipe: Recipe, given: argparse.Namespace, console: Console) -> None:
    train, completed = COMMANDS[recipe.command]
    overrides = [f"checkpoint.dir={given.runs}", *given.override]
    if recipe.folder:
        overrides += [f"data.train_path={given.data}/train", f"data.val_path={given.data}/test"]
    runs, evaluations = [], []
    for seed in recipe.seeds:
        cfg = configuration(recipe, seed, overrides)
        whole = completed(cfg)
        found = find_finished(whole)
        if found is None or not found.results.is_file():
            outcome = train(cfg, console)
            if outcome is None:
                raise KeyboardInterrupt
            found = outcome.folder
        runs.append(found.path)
        if recipe.linear_offline or (given.linear_offline and recipe.command == "pretrain"):
            evaluations.append(_linear_offline(found.path, given.runs, console))
    with progress_bar(console, f"publishing {name}") as progress:
        entry = publish(
            runs,
            name,
            given.zoo,
            licence=recipe.licence,
            dataset=recipe.dataset,
            progress=progress,
            with_training_state=recipe.training_state,
            reference=recipe.reference,
            evaluations=evaluations,
        )
    console.print(f"[bold]zoo:{name}[/]: {scores_line(entry)}", soft_wrap=True)


def _linear_offline(run: Path, runs: str, console: Console) -> Path:
    """Return the folder of a run's linear evaluation, made unless it is there."""
    weights = BackboneKind().weights_digest(run)
    for path in Path(runs, "linear").glob("*/results.json"):
        known = json.loads(path.read_text())
        if (known["source_sha256"], known["protocol"]) == (weights, "linear-offline"):
            return path.parent
    overrides = [f"pretrained_feature_extractor={run}", f"checkpoint.dir={runs}"]
    outcome = linear(
        _composed(linear.package, "linear", [*overrides, "protocol=linear-offline"]), console
    )
    if outcome is None:
        raise KeyboardInterrupt
    return outcome.folder.path


if __name__ == "__main__":
    main()
