"""Pictures of a predictive run: each a function of arrays that writes a PNG, and one report."""

from predictive.pictures.decoding import Decoded, DecodedPosition, write_position
from predictive.pictures.frames import FramePaths, write_frames
from predictive.pictures.history import TrainingHistory, write_history
from predictive.pictures.latents import LatentTrajectory, write_latents
from predictive.pictures.noise import NoiseRecovery, write_noise
from predictive.pictures.report import PredictiveReport, write_report
from predictive.pictures.scores import Score, write_scores
from predictive.pictures.space import LatentSpace, write_space

__all__ = [
    "Decoded",
    "DecodedPosition",
    "FramePaths",
    "LatentSpace",
    "LatentTrajectory",
    "NoiseRecovery",
    "PredictiveReport",
    "Score",
    "TrainingHistory",
    "write_frames",
    "write_history",
    "write_latents",
    "write_noise",
    "write_position",
    "write_report",
    "write_scores",
    "write_space",
]
