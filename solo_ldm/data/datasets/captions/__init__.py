"""Images with captions: a table of a user's own, digits that need no download, sentences."""

from solo_ldm.data.datasets.captions.classes import with_captions
from solo_ldm.data.datasets.captions.digits import DIGITS_CAPTIONS
from solo_ldm.data.datasets.captions.table import CAPTIONS

__all__ = ["CAPTIONS", "DIGITS_CAPTIONS", "with_captions"]
