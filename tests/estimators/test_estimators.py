"""The scikit-learn estimators pass its checks, and have properties that the checks do not cover."""

import joblib
import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import distbp
from distbp.sklearn import DistbpClassifier, DistbpRegressor
from distbp.sklearn.epochs import workers_for

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def values():
    x, y = make_regression(120, 6, n_targets=2, random_state=0)
    return x, y / 100


# Checks with bad data make NumPy warn; scikit-learn runs them with warnings allowed.
@pytest.mark.filterwarnings("default")
@parametrize_with_checks([DistbpClassifier(), DistbpRegressor()])
def test_the_checks_of_scikit_learn_pass(estimator, check):
    check(estimator)


def test_every_parameter_of_scikit_learn_exists_except_for_lbfgs():
    for ours, theirs in ((DistbpClassifier, MLPClassifier), (DistbpRegressor, MLPRegressor)):
        mine, other = ours().get_params(), theirs().get_params()
        assert set(other) - set(mine) == {"max_fun"}
        assert set(mine) - set(other) <= {"n_jobs", "class_weight", "loss"}
        assert {name: mine[name] for name in other if name != "max_fun"} == {
            name: other[name] for name in other if name != "max_fun"
        }


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_workers_never_change_the_result(values):
    x, y = values
    settings = {"batch_size": 128, "max_iter": 5, "random_state": 3, "early_stopping": True}
    x, y = np.tile(x, (3, 1)), np.tile(y, (3, 1))
    alone, many = (DistbpRegressor(n_jobs=n_jobs, **settings).fit(x, y) for n_jobs in (None, 2))
    assert alone.network_.weights.tobytes() == many.network_.weights.tobytes()
    assert alone.loss_curve_ == many.loss_curve_
    assert alone.validation_loss_curve_ == many.validation_loss_curve_


def test_n_jobs_determines_the_workers(monkeypatch):
    monkeypatch.setattr("distbp.sklearn.epochs.cpu_count", lambda: 4)
    asked = [workers_for(n_jobs, 8) for n_jobs in (None, 1, 2, 16, -1, -2)]
    assert asked == [0, 0, 2, 4, 4, 3]
    assert workers_for(-1, 1) == 0


def test_n_jobs_of_0_is_refused(iris):
    with pytest.raises(ValueError, match=r"The 'n_jobs' parameter of DistbpClassifier must be None, .* Got 0 instead"):
        DistbpClassifier(n_jobs=0).fit(*iris)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_no_workers_inside_a_parallel_job(backend):
    jobs = (joblib.delayed(workers_for)(2, 4) for _ in range(2))
    assert joblib.Parallel(n_jobs=2, backend=backend)(jobs) == [0, 0]


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")  # the best estimator is fitted again alone, on workers
def test_a_grid_search_over_a_pipeline_in_parallel(iris):
    pipeline = make_pipeline(StandardScaler(), DistbpClassifier(max_iter=30, random_state=0, n_jobs=2))
    grid = {"distbpclassifier__learning_rate_init": [1e-5, 0.01], "distbpclassifier__alpha": [1e-4, 1e-3]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(*iris)
    again = GridSearchCV(pipeline, grid, cv=2, n_jobs=None)
    again.estimator.set_params(distbpclassifier__n_jobs=None)
    again.fit(*iris)
    assert search.best_params_["distbpclassifier__learning_rate_init"] == 0.01
    assert search.best_score_ > 0.9
    assert search.cv_results_["mean_test_score"].tolist() == again.cv_results_["mean_test_score"].tolist()


def test_sparse_rows_give_the_same_network():
    x, y = load_digits(return_X_y=True)
    settings = {"max_iter": 3, "random_state": 0, "early_stopping": True}
    dense, sparse = (DistbpClassifier(**settings).fit(form(x), y) for form in (np.asarray, scipy.sparse.csr_array))
    assert dense.network_.weights.tobytes() == sparse.network_.weights.tobytes()
    assert (dense.predict(x) == sparse.predict(scipy.sparse.csc_matrix(x))).all()


def test_feature_names_are_kept(iris):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(iris[0], columns=list("abcd"))
    classifier = DistbpClassifier(max_iter=2, random_state=0).fit(table, pandas.Series(iris[1]))
    assert classifier.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(table[["b", "a", "c", "d"]])


def test_an_estimator_is_cloned_pickled_shown_and_saved(iris, tmp_path):
    x, y = iris[0], np.array(["setosa", "versicolor", "virginica"])[iris[1]]
    classifier = DistbpClassifier(max_iter=20, random_state=0).fit(x, y)
    assert clone(classifier).get_params() == classifier.get_params()
    joblib.dump(classifier, tmp_path / "classifier")
    again = joblib.load(tmp_path / "classifier")
    assert (again.predict_proba(x) == classifier.predict_proba(x)).all()
    again.partial_fit(x, y)
    assert "DistbpClassifier" in classifier._repr_html_()
    classifier.save(tmp_path / "model")
    network = distbp.Network.load(tmp_path / "model")
    assert network.predict(x).tolist() == classifier.predict(x).tolist()
    assert network.weights.tobytes() == classifier.network_.weights.tobytes()


def test_early_stopping_keeps_the_best_weights_and_records_the_costs(iris):
    classifier = DistbpClassifier(
        early_stopping=True, learning_rate_init=0.05, max_iter=300, random_state=1, validation_fraction=0.3
    ).fit(*iris)
    assert classifier.n_iter_ < 300
    assert len(classifier.validation_loss_curve_) == len(classifier.validation_scores_) == classifier.n_iter_
    assert classifier.best_validation_score_ == max(classifier.validation_scores_)
    assert min(classifier.validation_loss_curve_) < classifier.validation_loss_curve_[0] / 2


def test_several_labels_and_several_values_are_fitted(values):
    x, y = make_multilabel_classification(100, random_state=0)
    classifier = DistbpClassifier(learning_rate_init=0.02, max_iter=300, random_state=0).fit(x, y)
    assert classifier.predict_proba(x).shape == y.shape
    assert classifier.score(x, y) > 0.95
    assert (classifier.predict(x) == (classifier.predict_proba(x) > 0.5)).all()
    regressor = DistbpRegressor(learning_rate_init=0.02, max_iter=300, random_state=0).fit(*values)
    assert regressor.predict(values[0]).shape == values[1].shape
    assert regressor.score(*values) > 0.95


def test_weights_of_classes_and_rows_multiply(iris):
    x, y = iris
    settings = {"max_iter": 5, "random_state": 0}
    by_class = DistbpClassifier(class_weight={0: 2.0, 1: 3.0}, **settings).fit(x, y, np.full(150, 0.5))
    by_row = DistbpClassifier(**settings).fit(x, y, np.array([1.0, 1.5, 0.5])[y])
    assert by_class.network_.weights.tobytes() == by_row.network_.weights.tobytes()
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        DistbpClassifier(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])


def test_missing_convergence_causes_a_warning(iris):
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        DistbpClassifier(max_iter=2).fit(*iris)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_training_takes_the_steps_of_scikit_learn(kind, solver, iris, values):
    """With equal weights, rows, order and penalty, both take the same steps."""
    x, y = iris if kind == "classes" else values
    settings = {
        "hidden_layer_sizes": (7,),
        "activation": "tanh",
        "solver": solver,
        "alpha": 0.5,
        "batch_size": len(x),
        "learning_rate_init": 0.05,
        "random_state": 0,
        "shuffle": False,
        "max_iter": 1,
        "epsilon": 1e-15,  # which they add before the bias correction, we as in the paper after it
    }
    ours = (DistbpClassifier if kind == "classes" else DistbpRegressor)(**settings).fit(x, y)
    theirs = (MLPClassifier if kind == "classes" else MLPRegressor)(**settings).fit(x, y)
    ours.set_params(warm_start=True)
    theirs.set_params(warm_start=True)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        mine[...] = other
    ours._state[0] = ours.network_.weights
    for estimator in (ours, theirs):
        estimator.set_params(max_iter=30).fit(x, y)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert mine == pytest.approx(other, rel=1e-8, abs=1e-10)
