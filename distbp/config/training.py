"""The settings of training: optimizer, schedule, penalties, clipping, mini-batches and epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distbp.config.option import names_of, option
from distbp.config.values import ABOVE_0, AT_LEAST_0, FRACTION, Flag, Name, Number, Whole


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)  # Config has these methods
class TrainingOptions:
    """The settings of training."""

    optimizer: Any = option(Name(), "adam", f"Optimizer: {names_of('optimizer')}.", metavar="NAME")
    lr: float | None = option(
        ABOVE_0, None, "Learning rate.", if_open="0.1 for sgd, 0.01 for adagrad, 0.0003 for lion, else 0.001"
    )
    momentum: float | None = option(
        FRACTION,
        None,
        "SGD momentum X (fraction of the previous update): v := X * v - lr * gradient; w := w + v. PyTorch leaves "
        "lr out of v; the results agree while lr is constant.",
        if_open="0.9 for sgd",
    )
    nesterov: bool = option(
        Flag(), False, "SGD with Nesterov momentum: w := w + momentum * v - lr * gradient, with the new v."
    )
    weight_decay: float | None = option(
        FRACTION,
        None,
        "Decoupled weight decay of adamw and lion: each step first multiplies all parameters, biases too, by "
        "1 - X * lr, with lr as scheduled.",
        if_open="0.01 for adamw and lion",
    )
    schedule: Any = option(
        Name(),
        "constant",
        "Factor of lr when a fraction s of the run is done: constant|step (0.1 per third)|exponential (0.01^s)|"
        "inverse-time (1/(1+9s))|cosine (to 0)|one-cycle (1/25 to 1 in 30 %, then to 4e-06)|plateau (0.5 per 3 "
        "epochs in a row not 0.01 % below the lowest cost).",
        metavar="NAME",
    )
    warmup: int = option(
        Whole(0),
        0,
        "Steps over which lr rises linearly; the schedule covers the remaining steps.",
        metavar="STEPS",
    )
    l1: float = option(
        AT_LEAST_0,
        0.0,
        "L1 penalty: adds X * sum(abs(w)) to the minimised cost (biases excluded), not to reported costs.",
    )
    l2: float = option(
        AT_LEAST_0,
        0.0,
        "L2 penalty: adds X/2 * sum(w^2) to the minimised cost (biases excluded), not to reported costs. The optimizer "
        "sees it in the gradient (coupled).",
    )
    clip_value: float | None = option(
        ABOVE_0,
        None,
        "Clip each gradient element to [-X, X], after the penalties are added; biases too.",
        if_open="none",
    )
    clip_norm: float | None = option(
        ABOVE_0,
        None,
        "Scale the gradient of all layers together down to norm X, after --clip-value.",
        if_open="none",
    )
    max_norm: float | None = option(
        ABOVE_0,
        None,
        "After each step, scale each node's incoming weights down to norm X; output nodes too, biases excluded.",
        if_open="none",
    )
    batch_size: int = option(Whole(1), 128, "Rows per mini-batch.")
    epochs: int = option(Whole(1), 20, "Passes over the training data.")
    shuffle: bool = option(Flag(), True, "Shuffle the training rows anew in each epoch, or keep their order.")
    dropout: float = option(
        Number(most=0.99),
        0.0,
        "Dropout: fraction X of the hidden nodes that each step drops; the others are divided by 1 - X.",
    )
    early_stopping: int | None = option(
        Whole(1),
        None,
        "Stop after this many epochs without a lower validation cost, and keep the weights of the best epoch.",
        if_open="never",
        metavar="EPOCHS",
    )
    seed: int = option(Whole(0, 2**64 - 1), 0, "Seed of all random numbers.")
