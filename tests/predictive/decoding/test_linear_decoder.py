"""The affine decoder and R², against scikit-learn and what is known exactly."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from predictive.data.targets import TargetKind
from predictive.decoding.bins import sums_of_squares
from predictive.decoding.fit import fit_linear
from predictive.decoding.score import decode
from tests.support.predictive.series import close, normal, r2


def test_the_linear_decoder_recovers_an_affine_map_exactly():
    x, weight = normal(200, 4) * torch.tensor([1.0, 10.0, 0.1, 1.0]) + 3.0, normal(4, 2)
    decoder = fit_linear(x[:100], x[:100] @ weight - 5.0)
    assert r2(x[100:] @ weight - 5.0, decoder.predict(x[100:])) == pytest.approx(1.0, abs=1e-9)
    decoder = fit_linear(x[:100], x[:100] @ weight - 5.0, penalty=0.0)
    close(decoder.predict(x[100:]), x[100:] @ weight - 5.0)


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 2.0])
def test_the_linear_decoder_is_the_ridge_of_scikit_learn_on_standardised_features(penalty):
    x, y = normal(150, 6) @ normal(6, 6) + 2.0, normal(150, 3) - 4.0
    scaler = StandardScaler().fit(x[:100])
    expected = Ridge(alpha=100 * penalty, solver="cholesky" if penalty else "svd")
    expected.fit(scaler.transform(x[:100]), y[:100])
    actual = fit_linear(x[:100], y[:100], penalty).predict(x[100:])
    close(actual, torch.from_numpy(expected.predict(scaler.transform(x[100:]))))


def test_the_penalty_is_the_one_with_the_least_error_on_left_out_chunks():
    x, y = normal(100, 20), normal(100, 1)
    y = y + x[:, :1]
    errors = {}
    for penalty in np.logspace(-6, 2, 17):
        scaler = StandardScaler().fit(x)
        scaled = scaler.transform(x)
        errors[penalty] = 0.0
        for chunk in np.split(np.arange(100), 5):
            rest = np.setdiff1d(np.arange(100), chunk)
            ridge = Ridge(alpha=80 * penalty).fit(scaled[rest], y[rest])
            error = ridge.predict(scaled[chunk]).ravel() - y[chunk].numpy().ravel()
            errors[penalty] += float((error**2).sum())
    assert float(fit_linear(x, y).penalty) == pytest.approx(min(errors, key=errors.__getitem__))


def test_each_column_has_a_penalty_of_its_own_and_its_unit_changes_no_other():
    x, noise = normal(100, 20), 30.0 * normal(100, 1)  # nothing of the noise can be decoded
    y = torch.cat([x[:, :1] + 0.01 * normal(100, 1), noise], dim=1)
    alone = [fit_linear(x, y[:, [i]]) for i in range(2)]
    both = fit_linear(x, y)
    assert alone[0].penalty < 1e-3 < alone[1].penalty
    assert torch.equal(both.penalty, torch.cat([one.penalty for one in alone]))
    close(both.predict(x), torch.cat([one.predict(x) for one in alone], dim=1))
    one = fit_linear(x, y, together=True)
    assert one.penalty[0] == one.penalty[1] == alone[1].penalty


def test_decoded_categories_add_up_to_one():
    x = normal(90, 12)
    y = torch.nn.functional.one_hot((x[:, 0] + 0.5 * normal(90)).argsort().argsort() // 30).double()
    for kind in (TargetKind("categorical", categories=("a", "b", "c")), TargetKind()):
        (found,) = decode({"x": (x, x)}, (y, y), ["linear"], target=kind)
        assert (len({*found.decoder.penalty.tolist()}) == 1) == bool(kind.categories)
        error = (found.decoder.predict(normal(50, 12)).sum(dim=1) - 1.0).abs().max()
        assert (error < 1e-9) == bool(kind.categories)


def test_chunks_end_where_sequences_end():
    # A feature that names the sequence predicts only within a sequence: across, it is useless.
    groups = torch.arange(4).repeat_interleave(40)
    x = torch.nn.functional.one_hot(groups).double()
    y = normal(4, 1)[groups]
    split = fit_linear(x, y)
    whole = fit_linear(x, y, groups=groups)
    assert whole.penalty > split.penalty


def test_a_decoder_of_more_features_than_bins_stays_finite():
    x, y = normal(30, 60), normal(30, 1)
    for penalty in (None, 0.0):
        assert fit_linear(x, y, penalty).predict(normal(5, 60)).isfinite().all()


def test_r2_is_that_of_scikit_learn():
    y, prediction = normal(50, 3) * torch.tensor([1.0, 5.0, 0.2]), normal(50, 3)
    pooled = r2_score(y, prediction, multioutput="variance_weighted")
    assert r2(y, prediction) == pytest.approx(pooled)
    raw = r2_score(y, prediction, multioutput="raw_values")
    squares, total = sums_of_squares(y, prediction)
    close(1.0 - squares / total, torch.as_tensor(raw))
    with pytest.raises(ValueError, match="expected a known one in some bin"):
        r2(y * math.nan, prediction)
    with pytest.raises(ValueError, match="expected the shape"):
        r2(y, prediction[:, :1])
