"""The estimators are scikit-learn's: its own checks, pipelines and searches."""

from __future__ import annotations

import pickle
from threading import Thread

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from predictive import KalmanSSL, RecurrentSSL
from tests.predictive.estimator.conftest import SMALL

TINY = {**SMALL, "max_epochs": 1, "hidden_dim": 4, "latent_dim": 2}
# A state depends on the bins before it, as nothing in scikit-learn does.
NOT_MEANT = {
    "check_methods_sample_order_invariance": "the order of bins is time",
    "check_methods_subset_invariance": "a subset of bins has other bins before it",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator", [KalmanSSL(**TINY), RecurrentSSL(**TINY, state_dim=3)], ids=["kalman", "recurrent"]
)
def test_scikit_learn_s_checks_pass_but_for_those_that_take_bins_for_independent(estimator):
    found = check_estimator(estimator, expected_failed_checks=NOT_MEANT, on_skip=None)
    failed = {one["check_name"] for one in found if one["status"] == "xfail"}
    assert failed == NOT_MEANT.keys()
    assert len(found) > 40


def test_a_pipeline_and_a_search_choose_by_r2_or_without_labels(recording):
    counts, place = recording
    pipe = make_pipeline(FunctionTransformer(np.sqrt), KalmanSSL(**TINY))
    assert pipe.fit(counts, place).transform(counts).shape == (600, 2)
    folds = KFold(2)
    grid = {"latent_dim": [1, 2]}
    for target in (place, None):
        search = GridSearchCV(KalmanSSL(**TINY), grid, cv=folds).fit(counts, target)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.best_estimator_.chosen_["latent_dim"] in (1, 2)


def test_clones_and_pickles_compute_the_same(kalman, recording):
    counts, place = recording
    kept = pickle.loads(pickle.dumps(kalman))
    np.testing.assert_array_equal(kept.transform(counts), kalman.transform(counts))
    again = clone(kalman).fit(counts, place)
    np.testing.assert_array_equal(again.predict(counts), kalman.predict(counts))


def test_the_random_numbers_of_the_caller_stay_as_they_are(recording):
    counts, _ = recording
    np.random.seed(3)
    expected = np.random.RandomState(3).rand()
    KalmanSSL(**TINY).fit(counts)
    assert np.random.rand() == expected
    one, other = (KalmanSSL(**{**TINY, "random_state": None}).fit(counts) for _ in range(2))
    assert one.config_["seed"] != other.config_["seed"]


def test_fits_in_threads_give_the_weights_of_one_alone(recording):
    counts, _ = recording
    alone = KalmanSSL(**TINY).fit(counts).transform(counts)
    models = [KalmanSSL(**TINY) for _ in range(3)]
    threads = [Thread(target=one.fit, args=(counts,)) for one in models]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for one in models:
        np.testing.assert_array_equal(one.transform(counts), alone)


def test_a_search_may_give_numbers_of_numpy(recording):
    own = KalmanSSL(**{**TINY, "latent_dim": np.int64(2), "feature_dropout": np.float64(0.1)})
    assert own.fit(recording[0][:60]).config_["encoder"]["feature_dropout"] == 0.1
