"""Images with captions: a table of a user's own, and digits that need no download."""

from solo_ldm.data.datasets.captions.digits import DIGITS_CAPTIONS
from solo_ldm.data.datasets.captions.table import CAPTIONS

__all__ = ["CAPTIONS", "DIGITS_CAPTIONS"]
