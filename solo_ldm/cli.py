"""The commands: `solo-ldm pretrain …` and its fellows, and the same as main_pretrain.py etc."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

# Hydra reports errors by itself and leaves with its own code unless it is told to raise them.
os.environ.setdefault("HYDRA_FULL_ERROR", "1")

_NAMING_FLAGS = {"--config-name", "-cn", "--help", "-h", "--hydra-help", "--version"}

# Lightning starts the other processes of a distributed run with the arguments that Hydra saw, which
# lack the command.
_COMMAND_OF_HELPERS = "SOLO_LDM_COMMAND"

# Other packages add commands of theirs under this name in their metadata; predictive does.
_COMMAND_GROUP = "solo_ldm.commands"

_USAGE = """\
solo-ldm pretrain --config-name NAME [--config-path FOLDER] [key=value ...]
solo-ldm knn    pretrained_feature_extractor=WEIGHTS [data=NAME] [key=value ...]
solo-ldm linear pretrained_feature_extractor=WEIGHTS [data=NAME] [key=value ...]
solo-ldm export WEIGHTS PATH [--dtype float16] [--backbone NAME]
solo-ldm compare [--config-name NAME] [--config-path FOLDER] [jobs=2] [key=value ...]
solo-ldm ica    [task=NAME] [mixtures=FILE] [key=value ...]
solo-ldm theorem [cases=[NAME,...]] [key=value ...]
solo-ldm predictive --config-name NAME [key=value ...]
solo-ldm decode     --config-name NAME [key=value ...]
solo-ldm uncertainty RUN [data=NAME] [key=value ...]
solo-ldm clusters    RUN [key=value ...]
solo-ldm zoo list | show NAME | download NAME | verify [NAME ...] | publish RUN ...

  --config-name NAME    gaussprob, sphereprob, ldm, simclr, vicreg, byol, simsiam, cpc,
                        barlow_twins, lejepa, wmse, jepa, directpred, product, gje,
                        ijepa, categorical, lightly/NAME, solo, or a YAML in FOLDER
  --config-path FOLDER  a folder of your own YAMLs; they may build on the packaged groups
  key=value             override a key, e.g. method_kwargs.entropy=neighbour data=cifar10
  --cfg job             print the configuration and leave
  --help                what Hydra can do besides

  WEIGHTS  a run's folder, a checkpoint (also solo-learn's), a .safetensors file, timm:NAME,
           zoo:NAME
  knn      scores the features by nearest neighbours; its keys are in configs/knn.yaml
  linear   scores them by a linear classifier, or trains on; its keys are in configs/linear.yaml
  export   writes the backbone to PATH, a .safetensors file with timm's keys
  compare  ranks methods over seeds under one budget; its keys are in configs/compare.yaml
  ica      tells mixed sources apart: images, generalised_gaussian, ornstein_uhlenbeck, your own
  theorem  checks when predictive latents are the true ones up to an affine map, and when not
  predictive  trains a predictor of time series: figure8, nonlinear_system, place_cells, recording
  decode      the same over all folds of a recording: position from latents against from spikes
  uncertainty assesses the Gaussians that a run predicts; its keys are in configs/uncertainty.yaml
  clusters    compares the categories that a run found with the classes; configs/clusters.yaml
  zoo         pretrained models: their scores, their files, and measuring them again

SOLO_LDM_DEBUG=1 shows the trace of an error."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run `solo-ldm COMMAND …`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return
    begun = os.environ.get(_COMMAND_OF_HELPERS)
    if begun and "LOCAL_RANK" in os.environ and arguments[:1] != [begun]:
        arguments.insert(0, begun)
    command = arguments[0] if arguments else "none"
    os.environ[_COMMAND_OF_HELPERS] = command
    if command in COMMANDS:
        COMMANDS[command](arguments[1:])
        return
    others = {point.name: point for point in entry_points(group=_COMMAND_GROUP)}
    if command not in others:
        known = ", ".join([*COMMANDS, *sorted(others)])
        _leave(f"unknown command {command}: expected {known} (see solo-ldm --help)")
    others[command].load()(arguments[1:])


def pretrain_command(argv: Sequence[str] | None = None) -> None:
    """Pretrain as the command line says; errors a user can mend are one line and exit code 2."""
    check = _later("solo_ldm.run.configuration", "complete")
    work = _later("solo_ldm.commands.pretrain.run", "pretrain")
    schema = _named("solo_ldm.run.configuration", "RunConfig")

    names = "gaussprob, sphereprob or a YAML of yours with --config-path"
    run_with_hydra(argv, check, work, schema, names)


def knn_command(argv: Sequence[str] | None = None) -> None:
    """Score weights by nearest neighbours as the command line says."""
    check = _later("solo_ldm.commands.knn.schema", "complete_knn")
    work = _later("solo_ldm.commands.knn.run", "knn")
    schema = _named("solo_ldm.commands.knn.schema", "KnnKeys")

    run_with_hydra(argv, check, work, schema, "knn or a YAML of yours", default_name="knn")


def linear_command(argv: Sequence[str] | None = None) -> None:
    """Score weights by a linear classifier, or train on, as the command line says."""
    check = _later("solo_ldm.commands.linear.schema", "complete_linear")
    work = _later("solo_ldm.commands.linear.run", "linear")
    schema = _named("solo_ldm.commands.linear.schema", "LinearConfig")

    run_with_hydra(argv, check, work, schema, "linear or a YAML of yours", default_name="linear")


def export_command(argv: Sequence[str] | None = None) -> None:
    """Write a backbone as safetensors as the command line says."""
    parser = argparse.ArgumentParser(
        "solo-ldm export", description="Write a backbone as a safetensors file with timm's keys."
    )
    parser.add_argument(
        "weights", metavar="WEIGHTS", help="a run's folder, a checkpoint, a file, timm:NAME"
    )
    parser.add_argument("path", metavar="PATH", help="the file to write, ends in .safetensors")
    parser.add_argument("--dtype", help="float32, float16 or bfloat16; as it is if not given")
    parser.add_argument("--backbone", metavar="NAME", help="where the checkpoint does not say it")
    given = parser.parse_args(argv)
    with one_line_errors():
        from solo_ldm.weights.export import export_backbone

        path = export_backbone(given.weights, given.path, given.dtype, backbone_name=given.backbone)
    print(f"wrote {path}")
    print(f'next: solo_ldm.backbones.load_backbone("{path}")  # in Python')


def compare_command(argv: Sequence[str] | None = None) -> None:
    """Rank methods over seeds as the command line says; exit code 1 where runs failed."""

    def check(cfg: Any) -> None:
        from solo_ldm.commands.compare.schema import complete_compare

        complete_compare(cfg)

    def work(cfg: Any) -> None:
        from solo_ldm.commands.compare.run import compare

        try:
            if compare(cfg).failed:
                sys.exit(1)
        except KeyboardInterrupt:  # it has said that it stops
            sys.exit(130)

    def schema() -> type:
        from solo_ldm.commands.compare.schema import CompareConfig

        return CompareConfig

    run_with_hydra(argv, check, work, schema, "compare or a YAML of yours", default_name="compare")


def ica_command(argv: Sequence[str] | None = None) -> None:
    """Tell mixed sources apart as the command line says."""
    check = _later("solo_ldm.commands.ica.schema", "complete_ica")
    work = _later("solo_ldm.commands.ica.run", "ica")
    schema = _named("solo_ldm.commands.ica.schema", "ICAConfig")

    run_with_hydra(argv, check, work, schema, "ica or a YAML of yours", default_name="ica")


def theorem_command(argv: Sequence[str] | None = None) -> None:
    """Check the theorem on identifiable latents as the command line says."""
    check = _later("solo_ldm.commands.theorem.schema", "complete_theorem")
    work = _later("solo_ldm.commands.theorem.run", "theorem")
    schema = _named("solo_ldm.commands.theorem.schema", "TheoremConfig")

    run_with_hydra(argv, check, work, schema, "theorem or a YAML of yours", default_name="theorem")


def uncertainty_command(argv: Sequence[str] | None = None) -> None:
    """Assess the uncertainty that a run predicts as the command line says."""
    check = _later("solo_ldm.commands.uncertainty.schema", "complete_uncertainty")
    work = _later("solo_ldm.commands.uncertainty.run", "uncertainty")
    schema = _named("solo_ldm.commands.uncertainty.schema", "UncertaintyKeys")

    arguments = with_run(sys.argv[1:] if argv is None else argv)
    run_with_hydra(arguments, check, work, schema, "uncertainty", default_name="uncertainty")


def zoo_command(argv: Sequence[str] | None = None) -> None:
    """Work with pretrained models as the command line says; exit code 1 where a score differs."""
    with one_line_errors():
        from solo_ldm.commands.zoo.run import run

        code = run(argv)
    if code:
        sys.exit(code)


def clusters_command(argv: Sequence[str] | None = None) -> None:
    """Compare the clusters that a run found with the classes as the command line says."""
    check = _later("solo_ldm.commands.clusters.schema", "complete_clusters")
    work = _later("solo_ldm.commands.clusters.run", "clusters")
    schema = _named("solo_ldm.commands.clusters.schema", "ClustersConfig")

    arguments = with_run(sys.argv[1:] if argv is None else argv)
    run_with_hydra(arguments, check, work, schema, "clusters", default_name="clusters")


def with_run(arguments: Sequence[str]) -> list[str]:
    """Let the first argument be the folder of a run without run= before it."""
    arguments = list(arguments)
    if arguments and "=" not in arguments[0] and not arguments[0].startswith("-"):
        arguments[0] = f"run={arguments[0]}"
    return arguments


def _named(module: str, name: str) -> Callable[[], Any]:
    """Return what imports and gives something: torch and its like cost no wait before."""
    return lambda: getattr(import_module(module), name)


def _later(module: str, name: str) -> Callable[[Any], Any]:
    """Return a function that imports another when it is called, and calls it."""
    return lambda cfg: _named(module, name)()(cfg)


def run_with_hydra(
    argv: Sequence[str] | None,
    check: Callable[[Any], None],
    work: Callable[[Any], None],
    schema: Callable[[], type],
    names: str,
    default_name: str | None = None,
    package: str = "solo_ldm.configs",
) -> None:
    """Compose the configuration that the command line names, check it, and work with it.

    Args:
        argv: the arguments; None means the process's own.
        check: called first; it imports little, so that a misspelt key costs no wait.
        work: what the command does.
        schema: gives the dataclass of the command's keys, when one is misspelt.
        names: what --config-name may be, for the message when it is missing.
        default_name: the configuration used without --config-name.
        package: where the packaged configurations lie.
    """
    import hydra
    from omegaconf import DictConfig

    @hydra.main(version_base="1.3", config_path=f"pkg://{package}", config_name=default_name)
    def run(cfg: DictConfig) -> None:
        # Errors end here: Hydra would print a line of its own for those that reach it.
        with one_line_errors(schema):
            check(cfg)
            work(cfg)

    arguments = list(sys.argv[1:] if argv is None else argv)
    flags = {argument.partition("=")[0] for argument in arguments}
    if default_name is None and not flags & _NAMING_FLAGS:
        _leave(f"give --config-name: {names}")
    sys.argv = [sys.argv[0], *with_packaged_groups(arguments, package)]
    with one_line_errors(schema):
        run()


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "pretrain": pretrain_command,
    "knn": knn_command,
    "linear": linear_command,
    "export": export_command,
    "compare": compare_command,
    "uncertainty": uncertainty_command,
    "clusters": clusters_command,
    "ica": ica_command,
    "theorem": theorem_command,
    "zoo": zoo_command,
}


@contextmanager
def one_line_errors(schema: Callable[[], type] | None = None) -> Iterator[None]:
    """Turn errors that a user can mend into one line and exit code 2; see `one_line`."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError, FileNotFoundError) as error:
        if os.environ.get("SOLO_LDM_DEBUG"):
            raise
        _leave(one_line(error, schema))


def with_packaged_groups(arguments: list[str], package: str) -> list[str]:
    """Make a --config-path absolute and let its YAMLs use the packaged groups.

    Hydra would take the path relative to this file rather than to where the user is.
    """
    arguments = list(arguments)
    for i, argument in enumerate(arguments):
        flag, separator, value = argument.partition("=")
        if flag not in ("--config-path", "-cp"):
            continue
        if separator:
            arguments[i] = f"{flag}={Path(value).resolve()}"
        elif i + 1 < len(arguments):
            arguments[i + 1] = str(Path(arguments[i + 1]).resolve())
        return [*arguments, f"hydra.searchpath=[pkg://{package}]"]
    return arguments


def one_line(error: BaseException, schema: Callable[[], type] | None = None) -> str:
    """Say in one line what an error says in several.

    An error from a loader's worker process arrives with its trace as text; its last line is the
    message. Hydra's errors list choices on lines of their own.

    Args:
        error: what was raised.
        schema: gives the dataclass of the keys that an unknown key is compared with.
    """
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1]
        return text.partition(": ")[2] or text
    override = re.search(r"Could not override '([^']+)'", text)
    if override:
        from solo_ldm.run.configuration import nearest_key

        key = override.group(1)
        nearest = nearest_key(key, schema()) if schema else ""
        if nearest.endswith(f" {key}?"):  # a mapping that is open, which Hydra wants a + for
            return f"{key} cannot be replaced: set its keys one by one, +{key}.KEY=VALUE"
        return f"unknown key {key}{nearest}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines) if lines else type(error).__name__


def _leave(message: Any) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
