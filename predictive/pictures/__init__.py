"""Pictures of a predictive run: each a function of arrays that returns panels, and one report."""

from predictive.pictures.frames import frame_rows
from predictive.pictures.history import history_rows
from predictive.pictures.latents import latent_rows
from predictive.pictures.noise import noise_rows
from predictive.pictures.position import Decoded, position_rows
from predictive.pictures.report import write_report
from predictive.pictures.scores import score_rows
from predictive.pictures.space import space_rows

__all__ = [
    "Decoded",
    "frame_rows",
    "history_rows",
    "latent_rows",
    "noise_rows",
    "position_rows",
    "score_rows",
    "space_rows",
    "write_report",
]
