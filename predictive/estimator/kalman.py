"""`KalmanSSL`: latents that a Kalman filter predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from predictive.data.sequences import Segment, pad
from predictive.estimator.results import States
from predictive.estimator.settings import initial_states, seed_of
from predictive.estimator.states import LatentSSL
from predictive.filtered import smooth_sequences
from predictive.filtering import sample_model
from predictive.predictors import KalmanPredictor
from solo_ldm.config.arguments import Count, check_value


class KalmanSSL(LatentSSL):
    """Latents of neural activity, or of any series, whose future a Kalman filter predicts.

    z_t = f(x_t) = D h_t + N(0, R),  h_t = A (h_{t−1} − b) + b + N(0, Q): an encoder f and the model
    are trained together, without labels, by log p(z_t | z_<t) and the entropy of z; see
    `predictive.objective`. It is the training of `solo-ldm predictive`: the same configuration on
    the same sequences gives the same weights.

        model = KalmanSSL().fit(spikes, position)
        states = model.transform(spikes)
        position, low, high = model.predict(spikes, return_interval=True)

    Where a parameter is None it is chosen from the data; `chosen_` says what was:

    - input_transform: "sqrt" for counts (whole numbers from 0), "none" otherwise.
    - feature_dropout: 0.2 for counts of 10 features and more, otherwise 0.
    - history: 1 bin for counts whose bins hold fewer than 10 of all features in the mean, else 0.
    - latent_dim: the number of features, at most 24.
    - window: 10 s where the duration of a bin is known, from 60 to 200 bins, otherwise 100 bins; at
      most the longest sequence.
    - stride: a 25th of the window.
    - batch_size: 32, at most the number of windows.
    - max_epochs: 1200 steps of training, from 10 to 500 epochs.
    - time_constant: 200 bins.

    Args:
        latent_dim: m, dimension of the latents.
        state_dim: n, dimension of the state; the latents' by default.
        hidden_dim: units of the encoder's hidden layer.
        input_transform: "none" or "sqrt", of the inputs.
        feature_dropout: probability that a feature is set to its mean in a bin of the training.
        history: time constant, in bins, of the past's mean that is encoded beside a bin; 0: none.
        observation_noise: R: "constant", "input", "input_variance" or "state".
        process_noise: Q: "constant", "errors" or "observations_and_predictions".
        time_constant: that states begin to learn from, in seconds, or in bins of unknown duration.
        entropy: of the latents: "logdet", "stop_gradient", "neighbour", "kernel", ...
        window: bins of a training window.
        stride: bins between the starts of windows.
        batch_size: windows of a step.
        learning_rate: for 256 windows a step, scaled linearly.
        max_epochs: of a call of `fit`.
        bin_seconds: duration of a bin; None takes it from the times of X, if it has some. Spikes of
            a TsGroup are counted in such bins.
        decoder: of y: "mlp" or "linear".
        target: what y is: "radians", "degrees" or the period of an angle, which is decoded as
            cosine and sine; "categorical" for labels; None or "continuous" for numbers.
        output: what `transform` returns: "states", "smoothed" or "latents".
        device: "auto", "cpu" or "gpu", to train on; states are computed on the CPU.
        random_state: a number gives the same weights again; None draws one.
        verbose: whether to show a progress bar.
        settings: further keys of the configuration (predictive/configs/host.yaml), such as
            {"optimizer.weight_decay": 0.01}; they come last.

    Attributes:
        method_: the trained `PredictiveMethod`.
        chosen_: parameters after the rules above.
        config_: the whole configuration.
        history_: loss, log_prob and entropy of each epoch.
        decoder_: of y; None without one.
        bin_seconds_: duration of a bin; None where it isn't known.
        n_features_in_: number of features.

    Source:
        Mikulasch & Zenke, arXiv 2605.03517.
    """

    _method = "kalman"

    def __init__(
        self,
        latent_dim: int | None = None,
        state_dim: int | None = None,
        *,
        hidden_dim: int = 100,
        input_transform: str | None = None,
        feature_dropout: float | None = None,
        history: float | None = None,
        observation_noise: str = "constant",
        process_noise: str = "constant",
        time_constant: float | None = None,
        entropy: str = "logdet",
        window: int | None = None,
        stride: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.02,
        max_epochs: int | None = None,
        bin_seconds: float | None = None,
        decoder: str = "mlp",
        target: Any = None,
        output: str = "states",
        device: str = "auto",
        random_state: Any = 0,
        verbose: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.state_dim = state_dim
        self.hidden_dim = hidden_dim
        self.input_transform = input_transform
        self.feature_dropout = feature_dropout
        self.history = history
        self.observation_noise = observation_noise
        self.process_noise = process_noise
        self.time_constant = time_constant
        self.entropy = entropy
        self.window = window
        self.stride = stride
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.bin_seconds = bin_seconds
        self.decoder = decoder
        self.target = target
        self.output = output
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.settings = settings

    def smooth(self, X: Any) -> States:
        """Return the states of bins given all bins of their sequence, with covariances.

        Args:
            X: as in `fit`.

        Raises:
            ValueError: in one line: noise that depends on the states or on past errors.
        """
        inputs = self._read(X)
        found = self._filtered(inputs.sequences())
        states = smooth_sequences(self.method_, found)
        means, factors = [one.mean[0] for one in states], [one.factor[0] for one in states]
        return self._states(inputs, found, means, factors)

    def sample(
        self, steps: int = 100, n_samples: int = 1, random_state: Any = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw sequences from the model of the latents.

        Args:
            steps: T.
            n_samples: B.
            random_state: of the draws.

        Returns:
            States (B, T, n) and latents (B, T, m).

        Raises:
            ValueError: in one line: noise that depends on inputs, states or past errors.
        """
        predictor = self._kalman()
        check_value("steps", steps, Count)
        check_value("n_samples", n_samples, Count)
        if predictor.observation_noise.startswith("input"):
            raise ValueError(
                "observation_noise: expected constant to sample, as there are no inputs, got "
                f"{predictor.observation_noise}"
            )
        generator = torch.Generator().manual_seed(seed_of(random_state))
        with torch.no_grad():
            model = predictor.model(torch.zeros(1, 1, self.n_features_in_))
            states, latents = sample_model(model, n_samples, steps, generator)
        return states.numpy(), latents.numpy()

    def _kalman(self) -> KalmanPredictor:
        check_is_fitted(self)
        predictor = self.method_.predictor
        assert isinstance(predictor, KalmanPredictor)
        return predictor

    def _smoothed(self, X: Any) -> Any:
        return self.smooth(X).mean

    def _ahead(self, values: NDArray[np.float32], steps: int) -> tuple[Tensor, Tensor | None]:
        # A missing bin is a forecast.
        later = np.full((steps, values.shape[1]), np.nan, dtype=np.float32)
        found = self._filtered(pad([Segment(torch.from_numpy(np.concatenate([values, later])))]))
        assert found.state_factor is not None
        return found.states[0, -steps:], found.state_factor[0, -steps:]

    def _predictor(self, chosen: Mapping[str, Any], step_seconds: float | None) -> dict[str, Any]:
        return initial_states(chosen, step_seconds)
