"""What a person reads when a run has ended."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from solo_ldm.commands.pretrain.results import Trained


def print_summary(run: Trained, results: dict[str, Any], console: Console) -> None:
    """Say what was made, how good it is, where it is and what to do next."""
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    seconds = results["seconds"]
    body.add_row(
        "trained",
        f"{results['epochs']} epochs in {seconds:.0f} s, "
        f"{results['images_per_second']:.0f} images/s",
    )
    for protocol, score in results["results"].items():
        body.add_row(
            protocol,
            f"[bold green]{score['top1']:.4f}[/] top-1 ({_qualified(score)})",
        )
    if not results["results"]:
        body.add_row("scores", "none: the data has no labelled validation images")
        for name in ("effective_rank", "std", "mean_cosine"):
            if f"z_{name}" in results["health"]:
                value = results["health"][f"z_{name}"]
                body.add_row(name.replace("_", " "), f"{value:.3g} (of the latents)")
    for split, images in results["unreadable_images"].items():
        body.add_row("unreadable", f"{images['count']} of the {split} images; see results.json")
    folder = run.folder
    names = [folder.backbone.name, folder.results.name, folder.metrics.name]
    names += [folder.report.name] if folder.report.exists() else []
    body.add_row("files", ", ".join([*names, "checkpoints/"]))
    console.print(Panel(body, title=f"{results['method']} on {results['dataset']}", expand=False))
    other = "sphereprob" if run.cfg.method == "gaussprob" else "gaussprob"
    follow_ups = [
        f"solo-ldm pretrain --config-name {other} method_kwargs.entropy=neighbour",
        "solo-ldm pretrain --config-name gaussprob data=image_folder data.train_path=FOLDER",
        f'solo_ldm.backbones.load_backbone("{folder.backbone}")  # in Python',
    ]
    if results["results"]:
        evaluate = f"solo-ldm linear pretrained_feature_extractor={folder.path}"
        follow_ups.insert(0, f"{evaluate}  # or solo-ldm knn")
    if str(results.get("latent")).startswith("categorical"):
        follow_ups.insert(0, f"solo-ldm clusters {folder.path}")
    console.print(f"in {folder.path}", soft_wrap=True, highlight=False, markup=False)
    for number, line in enumerate(follow_ups):
        start = "next: " if number == 0 else "      "
        console.print(start + line, soft_wrap=True, highlight=False, markup=False)


def _qualified(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    parts = [f"95 % {low:.3f} to {high:.3f}", f"ECE {score['ece']:.3f}"]
    if score["untrained_top1"] is not None:
        parts.insert(0, f"untrained {score['untrained_top1']:.4f}")
    return "; ".join([*parts, f"{score['num_test']} test images"])
