"""The common part of both estimators: settings from parameters, the fit epoch by epoch, and the fitted attributes."""

from __future__ import annotations

import math
import warnings
from contextlib import closing
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from distbp.config import CHOICES, Config, Settings
from distbp.data.dataset import Array, Rows
from distbp.data.lazy import as_rows
from distbp.errors import DivergedError
from distbp.model.network import Network
from distbp.nn.structure import Structure
from distbp.optim import SGD, Adam, Optimizer
from distbp.sklearn.epochs import Epoch, Patience, is_better, mean_cost, run_epochs, workers_for
from distbp.sklearn.targets import Targets
from distbp.training.executors import initial_state

SOLVERS = ("adam", "sgd")
_BATCH = 200
_ACTIVATIONS = {"logistic": "sigmoid"}
_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class BasePerceptron(Targets, BaseEstimator):
    """The fit of a classifier or a regressor; a subclass defines the targets and the score."""

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  # scikit-learn's own form
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"logistic", *CHOICES["activation"]})],
        "solver": [StrOptions(set(SOLVERS))],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "n_jobs": [None, Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right")],
    }

    network_: Network
    _seed: int

    # The fit

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Self:
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            y_numeric=is_regressor(self),
            dtype=(np.float64, np.float32),
            reset=first,
        )
        self._learn_targets(y, first and not (incremental and hasattr(self, "classes_")))
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype)
            if sample_weight.min() < 0:
                raise ValueError(f"Negative values in data passed to `sample_weight`: {sample_weight.min()}")
            if not sample_weight.any():
                raise ValueError("Sample weights must contain at least one non-zero number.")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows, held_out = self._split(X, y, self._with_class_weights(y, sample_weight), seed)
        structure, config = self._settings(rows, X.dtype.name, seed, incremental)
        if first:
            self._begin(structure, config)
        elif structure.sizes != self.network_.structure.sizes:
            before = self.network_.structure.sizes
            raise ValueError(f"the layers were {before}, now they are {structure.sizes}: use warm_start=False")
        elif not incremental:  # a warm start: new optimizer state, the weights of the last fit
            self._state[1:], self._steps = 0, 0
        if first or not incremental:
            self.n_iter_, self._seed = 0, seed
        else:
            config = replace(config, seed=self._seed)  # the epochs continue, each with an order of its own
        self._run(structure, config, rows, held_out, incremental)
        return self

    def _split(self, X: Any, y: Array, weights: Array | None, seed: int) -> tuple[Rows, tuple[Any, ...] | None]:
        """Return the rows to train on, and (X, y, encoded y, weights) of the rows held out for early stopping."""
        encoded = self._encoded(y)
        if not self.early_stopping:
            return Rows(as_rows(X), encoded, 1.0, weights), None
        from sklearn.model_selection import train_test_split  # imported only when needed, since it is slow

        weight_arrays = [] if weights is None else [weights]
        parts = train_test_split(
            X,
            y,
            encoded,
            *weight_arrays,
            random_state=seed,
            test_size=self.validation_fraction,
            stratify=self._groups(encoded),
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        train, held_out = parts[::2], parts[1::2]
        rows = Rows(as_rows(train[0]), train[2], 1.0, None if weights is None else train[3])
        return rows, (*held_out, None) if weights is None else held_out

    def _settings(self, rows: Rows, dtype: str, seed: int, incremental: bool) -> tuple[Structure, Settings]:
        batch_size = min(_BATCH, len(rows)) if self.batch_size == "auto" else int(self.batch_size)
        if batch_size > len(rows):
            warnings.warn("Got `batch_size` larger than sample size. It is going to be clipped", stacklevel=4)
            batch_size = len(rows)
        mean_weight = 1.0 if rows.weights is None else float(rows.weights.mean(dtype=np.float64))
        optimizer: Optimizer = SGD(float(self.momentum), bool(self.nesterovs_momentum))
        lr = float(self.learning_rate_init)
        if self.solver == "adam":
            optimizer = Adam(float(self.beta_1), float(self.beta_2), float(self.epsilon) * self._cost_scale)
        else:
            lr /= self._cost_scale
        nodes, output, cost = self._parts(rows.y)
        activation = _ACTIVATIONS.get(self.activation, self.activation)
        config = Config(
            hidden=tuple(int(size) for size in np.atleast_1d(self.hidden_layer_sizes)),
            activation=activation,
            output=output,
            cost=cost,
            initial="glorot",
            dtype=dtype,
            optimizer=optimizer,
            lr=lr,
            # scikit-learn divides the penalty by the weight of the rows of a mini-batch
            l2=float(self.alpha) * self._cost_scale / (batch_size * mean_weight),
            batch_size=batch_size,
            epochs=1 if incremental else int(self.max_iter),
            seed=seed,
            shuffle=bool(self.shuffle),
            workers=0,
        ).settled("regression" if is_regressor(self) else "classification")
        config = config.with_workers(workers_for(self.n_jobs, config.shards))
        sizes = (int(rows.x.shape[1]), *config.hidden, nodes)
        return Structure(sizes, (*config.hidden_activations, output), cost), config

    def _begin(self, structure: Structure, config: Settings) -> None:
        self._state = initial_state(structure, config)
        self._steps = 0
        self.n_iter_, self.t_ = 0, 0
        self.n_layers_ = len(structure.sizes)
        self.n_outputs_ = structure.sizes[-1]
        self.out_activation_ = {"sigmoid": "logistic"}.get(structure.activations[-1], structure.activations[-1])
        self.loss_curve_: list[float] = []
        self.best_loss_: float | None = None if self.early_stopping else math.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.validation_loss_curve_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_: float | None = -math.inf if self.early_stopping else None

    def _run(
        self, structure: Structure, config: Settings, rows: Rows, held_out: tuple[Any, ...] | None, incremental: bool
    ) -> None:
        best = self._state[0].copy()
        patience = Patience(self.get_params(deep=False))
        converged = incremental
        try:
            with closing(run_epochs(structure, config, rows, self._state, self._steps, patience.factor)) as epochs:
                for epoch in epochs:
                    self._record(epoch, structure, config, len(rows))
                    if held_out is None:
                        better = self._lower_loss()
                    else:
                        better, is_best = self._validate(held_out)
                        best = epoch.state[0].copy() if is_best else best
                    done = patience.record(better, self.t_)
                    if done and not incremental:
                        converged = True
                        break
        except DivergedError as error:
            if held_out is None or self.validation_scores_ is None:
                raise ValueError(f"{_NOT_FINITE} ({error})") from error
            self.validation_scores_.append(math.nan)
        self._no_improvement_count = patience.count
        if held_out is not None:
            self._state[0] = best
            self.network_ = self._network(structure, best)
        if not converged:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _record(self, epoch: Epoch, structure: Structure, config: Settings, rows: int) -> None:
        self._state, self._steps = epoch.state, epoch.step
        self.network_ = self._network(structure, epoch.state[0])
        penalty = sum(float(np.vdot(w, w)) for w, _ in structure.layers(epoch.state[0]))
        self.loss_ = self._loss(epoch.cost) + config.l2 / self._cost_scale / 2 * penalty
        self.loss_curve_.append(self.loss_)
        self.n_iter_ += 1
        self.t_ += rows
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")  # noqa: T201  # what verbose asks for

    def _lower_loss(self) -> bool:
        assert self.best_loss_ is not None
        better = is_better(self.loss_, self.best_loss_, self.tol)
        self.best_loss_ = min(self.best_loss_, self.loss_)
        return better

    def _validate(self, held_out: tuple[Any, ...]) -> tuple[bool, bool]:
        """Score the held-out rows; return whether the score is better by ``tol``, and whether it is the best so far."""
        X, y, encoded, weights = held_out
        assert self.validation_scores_ is not None and self.validation_loss_curve_ is not None
        assert self.best_validation_score_ is not None
        outputs = self.network_.outputs(X)
        finite = bool(np.isfinite(outputs).all())
        score = float(self._score_of(y, self._decoded(outputs), weights)) if finite else math.nan
        self.validation_scores_.append(score)
        self.validation_loss_curve_.append(
            self._loss(mean_cost(self.network_, Rows(as_rows(X), encoded, 1.0, weights)))
        )
        if self.verbose:
            print(f"Validation score: {score:f}")  # noqa: T201
        better = is_better(-score, -self.best_validation_score_, self.tol)
        is_best = score > self.best_validation_score_
        self.best_validation_score_ = (
            max(score, self.best_validation_score_) if is_best else self.best_validation_score_
        )
        return better, is_best

    def _network(self, structure: Structure, weights: Array) -> Network:
        return Network.of(structure, weights, self._classes(), byte_factor=1.0)

    # The fitted attributes

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrices, transposed as in scikit-learn: shape (nodes of the layer before, nodes)."""
        check_is_fitted(self)
        return [w.T for w, _ in self.network_.structure.layers(self.network_.weights)]

    @property
    def intercepts_(self) -> list[Array]:
        """The bias vectors."""
        check_is_fitted(self)
        return [b for _, b in self.network_.structure.layers(self.network_.weights)]

    def save(self, folder: str | Path) -> None:
        """Write the fitted network without pickle; :meth:`distbp.Network.load` reads it."""
        check_is_fitted(self)
        self.network_.save(folder)

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        return self.network_.outputs(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def supports_partial_fit(estimator: BasePerceptron) -> bool:
    """Return whether the solver supports training by single epochs."""
    return estimator.solver in SOLVERS
