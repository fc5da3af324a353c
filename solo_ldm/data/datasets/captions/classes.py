"""Sentences about classes as captions, of any labelled images; and captions that say nothing."""

from __future__ import annotations

import numpy as np

from solo_ldm.data.config import DataConfig
from solo_ldm.data.sources.images import Listing


def with_captions(config: DataConfig, found: Listing) -> Listing:
    """Give each image the sentences of `data.class_captions` about its class, if there are any.

    Raises:
        ValueError: in one line: the images have captions, or an image has no class.
    """
    templates = config.class_captions
    if templates is not None:
        found = found._replace(captions=_of_classes(templates, config.dataset, found))
    texts = {text for own in found.captions or () for text in own}
    if len(texts) == 1:
        text = texts.pop()
        said = f"all captions are {text!r:.60}, so that nothing can be learned from them"
        return found._replace(notices=(*found.notices, f"data: {said}"))
    return found


def _of_classes(templates: list[str], dataset: str, found: Listing) -> list[tuple[str, ...]]:
    if found.captions is not None:
        raise ValueError(
            f"data.class_captions: expected null with data={dataset}, whose images have captions "
            "of their own; leave it out"
        )
    labels = np.asarray(found.labels)
    unlabelled = int((labels < 0).sum())
    if unlabelled:
        raise ValueError(
            f"data.class_captions: expected a label of each image, got {unlabelled} of "
            f"{len(labels)} without; take these out"
        )
    own = [tuple(one.replace("{}", name) for one in templates) for name in found.classes]
    return [own[label] for label in labels]
