"""Predictive self-supervised learning of time series: latents that a filter can predict.

`KalmanSSL` and `RecurrentSSL` are scikit-learn's estimators of it. This file imports nothing.
"""

_FACES = ("KalmanSSL", "RecurrentSSL")


def __getattr__(name):
    if name not in _FACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("predictive.estimator"), name)


def __dir__():
    return [*globals(), *_FACES]
