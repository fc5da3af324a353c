"""The evaluation protocols by name, with every setting that a score depends on.

Nothing here imports torch: a misspelt name is refused before the slow imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from solo_ldm.config.suggestions import suggestion


@dataclass(frozen=True)
class Protocol:
    """One way to score features. A change of a setting is a new protocol with a new name.

    Args:
        description: a line for people.
        predict: "module:function" of a function that maps train features (N, D), train labels (N,)
            and test features (M, D) to class probabilities (M, C); None where the score comes
            from a classifier trained by gradient descent.
        settings: the keyword arguments of that function, or what describes the training; stored
            in results.
    """

    description: str
    predict: str | None
    settings: Mapping[str, Any]


PROTOCOLS: dict[str, Protocol] = {
    "knn-20": Protocol(
        "weighted vote of the 20 nearest training samples by cosine similarity",
        "solo_ldm.evaluation.knn:knn_predict",
        {"num_neighbours": 20, "temperature": 0.07, "distance": "cosine"},
    ),
    "linear-features": Protocol(
        "logistic regression on standardised features of unaugmented images",
        "solo_ldm.evaluation.linear:linear_predict",
        {"weight_penalty": 3.16, "max_iterations": 1000},
    ),
}

# Scored from the classifier that pretraining leaves behind.
ONLINE = "linear-online"
ONLINE_PROTOCOL = Protocol(
    "the classifier that was trained beside the backbone",
    None,
    {"trained": "during pretraining, on augmented views, detached features"},
)

# Of methods that encode texts as well; `solo_ldm.evaluation.texts` has their functions.
TEXTS: dict[str, Protocol] = {
    "zero-shot": Protocol(
        "the class whose prompts, encoded and averaged, are nearest to the image", None, {}
    ),
    "retrieval": Protocol(
        "recall of an image's own captions among all texts, and back", None, {"at": [1, 5, 10]}
    ),
}

# These train a network, which no function of features can do; `solo-ldm linear` runs them.
TRAINED = {
    "linear-offline": "a classifier trained on frozen features of augmented images",
    "finetune": "backbone and classifier trained together",
}


def find_protocol(name: str, key: str = "protocol") -> Protocol:
    """Return a protocol by its name, a key of `PROTOCOLS` or `TEXTS`, or linear-online.

    Args:
        name: of the protocol.
        key: of the configuration, for messages.

    Raises:
        ValueError: a protocol that trains a network, or an unknown name, with the nearest one
            where there is one.
    """
    known = {**PROTOCOLS, ONLINE: ONLINE_PROTOCOL, **TEXTS}
    if name in known:
        return known[name]
    if name in TRAINED:
        raise ValueError(
            f"{key}: expected one of {', '.join(known)}, got {name}, which trains a network; "
            "run it with main_linear.py (solo-ldm linear)"
        )
    nearest = suggestion(name, list(known))
    raise ValueError(f"{key}: expected one of {', '.join(known)}, got {name!r}{nearest}")


def check_num_training(names: Iterable[str], num_images: int) -> None:
    """Raise a one-line ValueError for a protocol that needs more training images.

    Args:
        names: of protocols.
        num_images: in the training split.
    """
    for name in names:
        fewest = find_protocol(name).settings.get("num_neighbours", 1)
        if num_images < fewest:
            raise ValueError(
                f"evaluation.protocols: expected protocols for {num_images} training images, got "
                f"{name}, which needs {fewest}; leave it out, or use more images"
            )
