"""The settings of the network: its layers, its cost and its arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distbp.config.option import names_of, option
from distbp.config.values import FRACTION, ClassWeights, LayerSizes, Name, NamePerLayer


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)  # Config has these methods
class NetworkOptions:
    """The settings of the network."""

    hidden: tuple[int, ...] = option(
        LayerSizes(), (128,), "Nodes of each hidden layer, such as 512,512; or none.", metavar="SIZES"
    )
    activation: Any = option(
        NamePerLayer(),
        "relu",
        f"Activation of the hidden layers, one for all or one for each: {names_of('activation')}.",
        metavar="NAME",
    )
    output: Any = option(
        Name(),
        None,
        f"Activation of the output layer: {names_of('output')}.",
        if_open="softmax for cross-entropy, sigmoid for binary-cross-entropy, softplus for poisson; "
        "for other costs, identity in regression and sigmoid in classification",
        metavar="NAME",
    )
    cost: Any = option(
        Name(),
        None,
        f"Cost of an example: {names_of('cost')}. mse (without 1/2), mae and huber (delta 1) are summed over "
        "the outputs. For tables, they are computed on standardised targets.",
        if_open="cross-entropy for classification, mse for regression",
        metavar="NAME",
    )
    label_smoothing: float = option(
        FRACTION,
        0.0,
        "Label smoothing s. With cross-entropy and K classes, the target y becomes (1-s)y + s/K. With "
        "binary-cross-entropy, y of each node or label becomes (1-s)y + s/2.",
    )
    class_weights: Any = option(
        ClassWeights(),
        None,
        "Weight of each class's rows, multiplied by --weights: a list such as yes=2,no=1, or balanced, "
        "which means rows / (classes * rows of the class).",
        if_open="1 each",
        metavar="WEIGHTS",
    )
    initial: str | None = option(
        Name(),
        None,
        f"Scheme of the initial weights: {names_of('initial')}; biases start at 0.",
        if_open="glorot if each --activation is sigmoid, tanh or identity, else he",
        metavar="NAME",
    )
    dtype: str = option(Name(), "float32", f"Floating-point type of a run: {names_of('dtype')}.", metavar="NAME")
