import numpy as np
import pytest
from sklearn import metrics

from distbp.nn.scores import class_scores, roc_auc, value_scores


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_of_classes_are_sklearns(classes, rng):
    y = rng.integers(0, classes, 500)
    p = rng.dirichlet(np.ones(classes), 500).round(2) + 0.01  # with ties
    p /= p.sum(axis=1, keepdims=True)
    predicted = p.argmax(axis=1)
    found = class_scores(y, predicted, p)
    assert found.accuracy == metrics.accuracy_score(y, predicted)
    assert found.log_loss == pytest.approx(metrics.log_loss(y, p))
    area = metrics.roc_auc_score(y, p[:, 1]) if classes == 2 else metrics.roc_auc_score(y, p, multi_class="ovr")
    assert found.roc_auc == pytest.approx(area)
    assert found.confusion.tolist() == metrics.confusion_matrix(y, predicted).tolist()
    assert found.precision == pytest.approx(metrics.precision_score(y, predicted, average=None))
    assert found.recall == pytest.approx(metrics.recall_score(y, predicted, average=None))


def test_scores_of_values_are_sklearns(rng):
    y, predicted = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    found = value_scores(y, predicted)
    assert found.rmse == pytest.approx(np.sqrt(metrics.mean_squared_error(y, predicted)))
    assert found.mae == pytest.approx(metrics.mean_absolute_error(y, predicted))
    assert found.r2 == pytest.approx(metrics.r2_score(y, predicted))


def test_area_of_a_single_kind_is_not_a_number():
    assert np.isnan(roc_auc(np.ones(3, bool), np.arange(3.0)))
