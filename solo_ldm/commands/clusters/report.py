"""What an evaluation of clusters prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table


def print_clusters(results: dict[str, Any], folder: Path, console: Console) -> None:
    """Print how well clusters name classes, what they miss, and where the files are.

    Args:
        results: the content of clusters.json.
        folder: where the files are.
        console: where to print.
    """
    body = Table.grid(padding=(0, 2))
    body.add_column(style="bold")
    body.add_column()
    classes, named = results["classes"], results["class_of_cluster"]
    body.add_row("accuracy", f"[bold green]{results['accuracy']:.4f}[/] a cluster a class")
    body.add_row("purity", f"{results['purity']:.4f} each cluster by its most frequent class")
    body.add_row(
        "information",
        f"{results['normalised_mutual_information']:.4f} normalised mutual information, "
        f"adjusted Rand index {results['adjusted_rand']:.4f}",
    )
    body.add_row(
        "clusters",
        f"{results['num_used']} of {results['num_categories']} used; entropy of their shares "
        f"{results['entropy_of_mean']:.3f} nats, of an image {results['mean_entropy']:.3f}",
    )
    missed = [name for number, name in enumerate(classes) if number not in named]
    if missed:
        more = f" and {len(missed) - 5} more" if len(missed) > 5 else ""
        body.add_row("unnamed", f"no cluster of its own: {', '.join(missed[:5])}{more}")
    body.add_row("files", "clusters.json, clusters.csv, clusters.png")
    title = f"clusters of {results['name']} in {results['num_images']} held-out images"
    console.print(Panel(body, title=title, expand=False))
    console.print(f"in {folder}", soft_wrap=True, highlight=False, markup=False)
    if missed and results["num_used"] < results["num_categories"]:
        console.print(
            "next: another seed, or --config-name categorical with more "
            "method_kwargs.entropy_weight or a lower method_kwargs.first_match_probability",
            soft_wrap=True,
            highlight=False,
        )
