"""The measures of one space of one network, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from solo_ldm.commands.diagnostics.encoding import Encoded
from solo_ldm.commands.shared.inputs import spread
from solo_ldm.evaluation.diagnostics.classes import (
    class_separation,
    mahalanobis_distances,
    neighbour_distances,
)
from solo_ldm.evaluation.diagnostics.gaussianity import (
    anderson_darling,
    gaussian_like,
    gaussianity,
)
from solo_ldm.evaluation.diagnostics.jacobian import jacobian_ranks, jacobian_singular_values
from solo_ldm.evaluation.diagnostics.power_law import power_law
from solo_ldm.evaluation.diagnostics.views import (
    LIDAR_RIDGE,
    alignment,
    lidar,
    rankme,
    uniformity,
)
from solo_ldm.evaluation.features import Features
from solo_ldm.evaluation.scores import evaluate
from solo_ldm.evaluation.spectrum import covariance_spectrum, effective_rank
from solo_ldm.evaluation.uncertainty import auroc
from solo_ldm.plotting.embedding import MAX_POINTS, to_plane

_LinAlgError = torch.linalg.LinAlgError  # pyright: ignore[reportPrivateImportUsage]

_NEIGHBOURS = 10  # of the trustworthiness


class Plane(NamedTuple):
    """An embedding of features: points (M, 2), labels (M,), and the name of the method."""

    points: np.ndarray
    labels: np.ndarray
    method: str


@dataclass
class Measured:
    """Measures of a space, for results.json, and what they were taken of, for the picture.

    Args:
        values: as in results.json.
        spectrum: eigenvalues (D,).
        singular_values: of the Jacobian, mean over the images (K,); empty where there is none.
        coordinate: standardised values (N,) of the coordinate of median normality; empty where all
            samples are equal.
        plane: an embedding of the features.
        lines: one for each measure that these features have not, or that means something else.
    """

    values: dict[str, Any] = field(default_factory=dict)
    spectrum: np.ndarray = field(default_factory=lambda: np.empty(0))
    singular_values: np.ndarray = field(default_factory=lambda: np.empty(0))
    coordinate: np.ndarray = field(default_factory=lambda: np.empty(0))
    plane: Plane | None = None
    lines: list[str] = field(default_factory=list)

    def take(self, name: str, measure: Callable[[], Any]) -> None:
        """Put a measure into the values: None, and a line, where the features have none."""
        try:
            self.values[name] = measure()
        except (ValueError, _LinAlgError) as error:
            self.values[name] = None
            self.lines.append(f"{name} is not measured: {error}")


def measure(
    encoded: Encoded,
    encoder: Callable[[Tensor], Tensor],
    images: Tensor | None,
    classify: bool,
) -> Measured:
    """Take all measures of a space.

    Args:
        encoded: of the space alone.
        encoder: images to the vectors of the space.
        images: whose Jacobian is taken; None for none.
        classify: whether to score linear-features and embed.
    """
    shown = encoded.shown
    features, labels = shown
    found = Measured(values={"num_samples": len(features), "num_dims": features.shape[1]})
    found.take("spectrum", lambda: _spectrum(found, features))
    found.take("rankme", lambda: rankme(features))
    found.take("gaussianity", lambda: _gaussianity(found, features))
    found.take("gaussianity_null", lambda: gaussianity(gaussian_like(features))._asdict())
    views = encoded.views
    if views is not None:
        found.take("alignment", lambda: _of_pairs(views, alignment))
        found.take("uniformity", lambda: _of_pairs(views, lambda one, _: uniformity(one)))
        found.take("lidar", lambda: lidar(views, LIDAR_RIDGE))
        within = views.var(dim=1, correction=0).mean().item()
        if within < LIDAR_RIDGE:
            found.lines.append(
                f"lidar: the variance within an image, {within:.1e}, is below its ridge, "
                f"{LIDAR_RIDGE:g}: it is the effective rank of the means of the images"
            )
        found.values["num_views"] = views.shape[1]
    found.take("class_separation", lambda: class_separation(features, labels))
    found.values["outside"] = {
        name: _outside(found, name, encoded, other) for name, other in encoded.outside.items()
    }
    if images is not None:
        found.take("jacobian", lambda: _jacobian(found, encoder, images))
    if classify:
        found.take("linear_features", lambda: _linear(encoded))
        found.take("embedding", lambda: _embedding(found, shown))
    return found


def _spectrum(found: Measured, features: Tensor) -> dict[str, Any]:
    eigenvalues = covariance_spectrum(features)
    found.spectrum = eigenvalues.cpu().numpy()
    law = power_law(eigenvalues)
    keys = ("exponent", "scale", "r_squared", "first", "last", "cutoff", "num_above_rounding")
    values: dict[str, Any] = dict.fromkeys(keys) if law is None else law._asdict()
    return {**values, "effective_rank": effective_rank(features)}


def _gaussianity(found: Measured, features: Tensor) -> dict[str, Any]:
    values = gaussianity(features)._asdict()
    statistic = anderson_darling(features)
    statistic[~statistic.isfinite()] = -1.0  # coordinates that do not vary come first
    alive = int((statistic >= 0).sum())
    median = statistic.argsort()[len(statistic) - alive + alive // 2]
    column = features[:, median].double()
    found.coordinate = ((column - column.mean()) / column.std()).numpy()
    return values


def _of_pairs(views: Tensor, measure: Callable[[Tensor, Tensor], float]) -> float:
    """Return the mean of a measure over the pairs of views that were drawn together."""
    pairs = range(0, views.shape[1] - 1, 2)
    return float(np.mean([measure(views[:, one], views[:, one + 1]) for one in pairs]))


def _outside(found: Measured, name: str, encoded: Encoded, other: Tensor) -> dict[str, Any]:
    train, inside = encoded.train, encoded.shown.features
    scores: dict[str, Callable[[Tensor], Tensor]] = {
        "neighbour": lambda some: neighbour_distances(train.features, some),
        "mahalanobis": lambda some: mahalanobis_distances(*train, some),
    }
    own = Measured()
    for key, score in scores.items():
        own.take(key, lambda score=score: auroc(score(inside), score(other)))
    found.lines += [f"outside.{name}.{line}" for line in own.lines]
    return own.values


def _jacobian(
    found: Measured, encoder: Callable[[Tensor], Tensor], images: Tensor
) -> dict[str, Any]:
    values = jacobian_singular_values(encoder, images)
    found.singular_values = values.mean(dim=0).numpy()
    num_outputs, num_inputs = found.values["num_dims"], images[0].numel()
    ranks = jacobian_ranks(values, max(num_outputs, num_inputs))
    return {
        **{name: _spread(one) for name, one in ranks._asdict().items()},
        "num_images": len(images),
        "num_outputs": num_outputs,
        "num_inputs": num_inputs,
    }


def _spread(values: Tensor) -> dict[str, float]:
    std = values.std().item() if len(values) > 1 else 0.0
    return {"mean": values.mean().item(), "std": std}


def _linear(encoded: Encoded) -> dict[str, Any]:
    score = evaluate("linear-features", encoded.train, encoded.test)
    keys = ("top1", "interval", "ece", "num_train", "num_test")
    return {key: getattr(score, key) for key in keys} | {"interval": list(score.interval)}


def _embedding(found: Measured, shown: Features) -> dict[str, Any]:
    from sklearn.manifold import trustworthiness

    chosen = spread(len(shown.features), MAX_POINTS)
    features = shown.features.double().numpy()[chosen]
    points, method = to_plane(features, umap=True)
    found.plane = Plane(points, shown.labels.numpy()[chosen], method)
    neighbours = min(_NEIGHBOURS, len(points) // 2 - 1)
    value = trustworthiness(features, points, n_neighbors=neighbours)
    return {
        "method": method,
        "trustworthiness": float(value),
        "num_neighbours": neighbours,
        "num_images": len(points),
    }
