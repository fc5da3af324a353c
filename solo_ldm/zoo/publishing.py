"""Publishing: from run folders to an entry of the zoo, its files, scores and card."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from solo_ldm.data.config import DataConfig
from solo_ldm.files import as_written, read_json, sha256_of, write_json, write_text
from solo_ldm.weights.published.entry import (
    CONFIG,
    NOT_PUBLISHED,
    TRAINING_STATE,
    WEIGHTS,
    Entry,
    Result,
    ZooFile,
)
from solo_ldm.weights.published.manifest import (
    as_reference,
    check_name,
    read_manifest,
    write_manifest,
)
from solo_ldm.weights.published.staging import change
from solo_ldm.zoo.cards import write_card
from solo_ldm.zoo.kinds import Kind, Progress, Score, find_kind, kind_of, no_progress
from solo_ldm.zoo.table import write_table

HUB_CONFIG, CARD, PICTURE = "config.json", "README.md", "report.png"
# Half precision may lower a score by this: one of a thousand test images.
_LOSS = 0.001
# Fields of an entry that are those of the run's results.json.
_RECORDED = ("method", "epochs", "commit", "versions", "hardware", "seconds")


def publish(
    runs: Sequence[str | Path],
    name: str,
    folder: Path,
    *,
    licence: str,
    dataset: str | None = None,
    urls: Sequence[str] = (),
    with_training_state: bool = False,
    reference: Mapping[str, Any] | None = None,
    evaluations: Sequence[str | Path] = (),
    data: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> Entry:
    """Publish the first of some runs, with the mean and standard deviation over all.

    The weights are stored in half precision unless this lowers a score by more than a thousandth,
    and scored as they are stored.
    The entry's folder is replaced as a whole once it is complete. Other publications into the zoo
    wait meanwhile.

    Args:
        runs: folders of finished runs that differ only in the seed; the first one's weights are
            published, whatever its score.
        name: of the entry.
        folder: of the zoo, which holds manifest.yaml and weights/.
        licence: of the data.
        dataset: name of the data where the run has none, as for custom data.
        urls: of mirrors, with {name} and {file} in place of the entry's and the file's names.
        with_training_state: add the last checkpoint, to continue training from.
        reference: fields of a score that others published, see `Reference`.
        evaluations: results.json files of `solo-ldm linear` on the same runs, to be recorded.
        data: keys of data.* that differ from the run's, such as train_path.
        progress: see `Progress`.

    Returns:
        The entry.

    Raises:
        ValueError: in one line: no runs, runs that differ in more than the seed, an unfinished
            run, a run of no known kind.
        FileNotFoundError: in one line: a run or data that are not there.
    """
    check_name(name)
    paths = [Path(run).expanduser() for run in runs]
    if not paths:
        raise ValueError("runs: expected at least one run folder, got none")
    records = [read_run(path) for path in paths]
    args, results = records[0]
    kind_name = kind_of(args, paths[0])
    kind = find_kind(kind_name)
    identities = [kind.identity(one) for one, _ in records]
    _check_alike(paths, identities)
    with change(folder, lambda: progress("waiting for another publication", 0, None)) as staged:
        before = read_manifest(folder)
        made = staged / "weights" / name
        made.mkdir(parents=True)
        places = _write_config(made / CONFIG, kind, name, identities[0])
        scores, sha256 = _write_weights(kind, paths[0], made, {**places, **(data or {})}, progress)
        found = _collect(kind, paths, [one for _, one in records], scores, evaluations)
        if with_training_state:
            state = paths[0] / "checkpoints" / "last.ckpt"
            if not state.is_file():
                raise FileNotFoundError(f"no training state at {state}: publish without it")
            shutil.copyfile(state, made / TRAINING_STATE)
        if (paths[0] / PICTURE).is_file():
            _write_picture(paths[0] / PICTURE, made / PICTURE)
        if (hub := kind.hub_config(made)) is not None:
            write_json(made / HUB_CONFIG, hub)
        model = kind.load(name, made)
        with as_written(paths[0] / "results.json"):
            facts = kind.facts(args, results)
            facts |= {key: results[key] for key in _RECORDED} | {"date": results["finished"][:10]}
        if dataset is not None:
            facts["dataset"] = dataset
        entry = Entry(
            name=name,
            kind=kind_name,
            dataset_sha256=sha256,
            licence=licence,
            num_features=int(getattr(model, "num_features", 0)),
            seed=args["seed"],
            command=_command(kind, name, places),
            files=_files(made, name, urls),
            results=found,
            reference=as_reference(name, reference, found),
            **facts,
        )
        write_card(made / CARD, entry, kind.library)
        write_manifest(staged, {**before, name: entry})
        write_table(staged, read_manifest(staged))
    return entry


def read_run(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the contents of args.json and results.json of a finished run.

    Raises:
        ValueError: in one line: a folder that holds none.
        FileNotFoundError: in one line: no folder.
    """
    if not run.is_dir():
        raise FileNotFoundError(f"no run at {run}: give the folder that holds its results.json")
    found = []
    for file in ("args.json", "results.json"):
        path = run / file
        if not path.is_file():
            raise ValueError(f"{run} holds no {file}: publish takes the folder of a finished run")
        found.append(read_json(path))
    return found[0], found[1]


def _check_alike(paths: Sequence[Path], identities: Sequence[Mapping[str, Any]]) -> None:
    plain = [{key: value for key, value in one.items() if key != "seed"} for one in identities]
    for path, one in zip(paths[1:], plain[1:], strict=True):
        differing = [key for key in {**plain[0], **one} if plain[0].get(key) != one.get(key)]
        if differing:
            raise ValueError(
                f"{path} differs from {paths[0]} in {', '.join(differing)}: runs published "
                "together differ only in the seed"
            )
    seeds = [one["seed"] for one in identities]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"runs: expected different seeds, got {', '.join(map(str, seeds))}")


def _write_config(path: Path, kind: Kind, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write a run's configuration without the paths of its data, which are returned."""
    kept, usual = dict(content["data"]), DataConfig().train_path
    places = {key: kept.get(key) for key in kind.data_paths if kept.get(key) not in (None, usual)}
    kept.update(dict.fromkeys(places, NOT_PUBLISHED))
    text = (
        f"# The whole configuration of zoo:{name}. Trains it again:\n"
        f"#   {_command(kind, name, places)}\n"
        "defaults:\n  - host\n  - _self_\n\n"
        f"name: {name}\n" + OmegaConf.to_yaml(OmegaConf.create({**content, "data": kept}))
    )
    write_text(path, text)
    return places


def _write_weights(
    kind: Kind, run: Path, made: Path, data: Mapping[str, Any], progress: Progress
) -> tuple[dict[str, Score], str]:
    """Write the weights, in half precision if this costs no score, and score them.

    They are compared with the scores of the run, which are of whole precision.
    """
    with as_written(run / "results.json"):
        single = kind.run_scores(read_json(run / "results.json"))
    kind.write_weights(run, made / WEIGHTS, half=True)
    half = kind.measure(made, data, progress)
    if all(one.value >= single[name].value - _LOSS for name, one in half[0].items()
           if name in single):  # fmt: skip
        return half
    kind.write_weights(run, made / WEIGHTS, half=False)
    return kind.measure(made, data, progress)


def _write_picture(run: Path, path: Path) -> None:
    """Write the picture of a run in 256 colours: the same to the eye in a quarter of the bytes."""
    from PIL import Image

    with Image.open(run) as image:
        few = image.convert("RGB").quantize(method=Image.Quantize.FASTOCTREE, dither=0)
    few.save(path, optimize=True)


def _files(made: Path, name: str, urls: Sequence[str]) -> list[ZooFile]:
    """Describe the files in a folder."""
    files = []
    for path in sorted(made.iterdir()):
        mirrors = [url.format(name=name, file=path.name) for url in urls]
        files.append(ZooFile(path.name, sha256_of(path), path.stat().st_size, mirrors))
    return files


def _command(kind: Kind, name: str, places: Iterable[str]) -> str:
    """Return the command that trains an entry again."""
    paths = "".join(f" data.{key}=PATH" for key in places)
    return f"solo-ldm {kind.command} --config-path zoo/weights/{name} --config-name config{paths}"


def _collect(
    kind: Kind,
    runs: Sequence[Path],
    records: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Score],
    evaluations: Sequence[str | Path],
) -> list[Result]:
    """Return the results, one per protocol: those that can be verified first."""
    scores = []
    for run, record in zip(runs, records, strict=True):
        with as_written(run / "results.json"):
            scores.append(kind.run_scores(record))
    digests = [kind.weights_digest(run) for run in runs] if evaluations else []
    for evaluation in evaluations:
        path = Path(evaluation).expanduser()
        path = path / "results.json" if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"no evaluation at {path}: give what solo-ldm linear wrote")
        content = read_json(path)
        if content.get("source_sha256") not in digests:
            raise ValueError(
                f"{path} is of other weights than those of {', '.join(map(str, runs))}"
            )
        number = digests.index(content["source_sha256"])
        with as_written(path):
            score = Score("top1", content["top1"], content["num_test"])
            scores[number][str(content["protocol"])] = score
    results = []
    for protocol in dict.fromkeys([*measured, *scores[0]]):
        lacking = [str(run) for run, one in zip(runs, scores, strict=True) if protocol not in one]
        if lacking:
            raise ValueError(f"no score by {protocol}, which others have: {', '.join(lacking)}")
        results.append(_result(protocol, measured.get(protocol), [one[protocol] for one in scores]))
    return results


def _result(protocol: str, measured: Score | None, runs: Sequence[Score]) -> Result:
    values = [one.value for one in runs]
    published = measured or runs[0]
    return Result(
        protocol=protocol,
        metric=published.metric,
        value=published.value,
        baseline=runs[0].baseline,
        mean=statistics.fmean(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        num_runs=len(values),
        num_samples=published.num_samples,
        tolerance=published.tolerance,
    )
