"""scikit-learn's digits with captions in six languages: images and text without a download."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.base import Split
from solo_ldm.data.datasets.digits import DIGITS
from solo_ldm.data.sources.images import Listing

# Names of 0 to 9 in a language, and phrases about one of them.
_LANGUAGES = (
    (
        "zero one two three four five six seven eight nine",
        ("a handwritten {}", "the digit {} in ink", "someone wrote a {}", "number {}", "{}"),
    ),
    (
        "null eins zwei drei vier fünf sechs sieben acht neun",
        ("eine handgeschriebene {}", "die Ziffer {}", "jemand schrieb eine {}", "Zahl {}"),
    ),
    (
        "zéro un deux trois quatre cinq six sept huit neuf",
        ("un {} écrit à la main", "le chiffre {}", "quelqu'un a écrit un {}", "numéro {}"),
    ),
    (
        "cero uno dos tres cuatro cinco seis siete ocho nueve",
        ("un {} escrito a mano", "la cifra {}", "alguien escribió un {}", "número {}"),
    ),
    (
        "zero uno due tre quattro cinque sei sette otto nove",
        ("un {} scritto a mano", "la cifra {}", "qualcuno ha scritto un {}", "numero {}"),
    ),
    (
        "nul een twee drie vier vijf zes zeven acht negen",
        ("een handgeschreven {}", "het cijfer {}", "iemand schreef een {}", "getal {}"),
    ),
)
# Of each image; one of them is drawn in each epoch.
_CAPTIONS = 4


def _read(config: DataConfig, split: Split) -> Listing | None:
    """Return the digits, each with phrases that are drawn once, the same for all runs."""
    found = DIGITS.read(config, split)
    assert found is not None, "digits have one split, of which a share is held out"
    draws = np.random.default_rng(0)
    phrases = [
        # Languages share some.
        sorted({form.format(names.split()[digit]) for names, forms in _LANGUAGES for form in forms})
        for digit in range(10)
    ]
    captions = [
        tuple(str(one) for one in draws.choice(phrases[label], _CAPTIONS, replace=False))
        for label in np.asarray(found.labels)
    ]
    classes = tuple(_LANGUAGES[0][0].split())
    return found._replace(classes=classes, captions=captions)


DIGITS_CAPTIONS = replace(DIGITS, read=_read, paths={"train_path": None})
