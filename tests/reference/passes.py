"""The lecture's two passes for ONE example, node by node: forward for all z and a, backward for all delta.

A layer is (w, b), where w[k][j] is the weight from node j of the layer before to node k.
"""

from itertools import pairwise

from reference.functions import ACTIVATIONS, COSTS, aims, softmax


def forward(layers, activations, x, factors):
    """Return z of each layer, and a of each layer after x; dropout multiplies hidden a by ``factors[l][node]``.

    Dropout never applies to the last layer.
    """
    zs, outputs = [], [x]
    for l, ((w, b), name) in enumerate(zip(layers, activations, strict=True)):
        before = outputs[-1]
        z = [sum(w[k][j] * before[j] for j in range(len(before))) + b[k] for k in range(len(b))]
        a = softmax(z) if name == "softmax" else [ACTIVATIONS[name][0](u) for u in z]
        if factors and l < len(layers) - 1:
            a = [each * factor for each, factor in zip(a, factors[l], strict=True)]
        zs.append(z)
        outputs.append(a)
    return zs, outputs


def backward(layers, activations, cost, x, y, factors=(), smoothing=0.0):
    """Return the cost of one example, its gradient as a list of layers, and a^L."""
    zs, outputs = forward(layers, activations, x, factors)
    answer, aim = outputs[-1], aims(y, len(outputs[-1]), cost, smoothing)
    value, slope = COSTS[cost]
    total = sum(value(a, t) for a, t in zip(answer, aim, strict=True))

    # base case: dC/dz^L = dC/da^L times da^L/dz^L
    slopes = [slope(a, t) for a, t in zip(answer, aim, strict=True)]
    if activations[-1] == "softmax":  # every z_i changes every a_k: da_k/dz_i = a_k (1 if k = i else 0) - a_k a_i
        nodes = range(len(answer))
        delta = [sum(slopes[k] * answer[k] * ((k == i) - answer[i]) for k in nodes) for i in nodes]
    else:
        delta = [s * ACTIVATIONS[activations[-1]][1](u) for s, u in zip(slopes, zs[-1], strict=True)]

    gradient = []
    for l in reversed(range(len(layers))):
        before = outputs[l]
        gradient.insert(0, ([[delta[k] * a for a in before] for k in range(len(delta))], delta))
        if l:  # induction step: delta_j = sum_k delta_k w_kj sigma'(z_j)
            w = layers[l][0]
            slopes = [ACTIVATIONS[activations[l - 1]][1](u) for u in zs[l - 1]]
            if factors:
                slopes = [each * factor for each, factor in zip(slopes, factors[l - 1], strict=True)]
            delta = [sum(delta[k] * w[k][j] for k in range(len(delta))) * slopes[j] for j in range(len(slopes))]
    return total, gradient, answer


def as_layers(flat, sizes):
    """Split a flat vector into layers: w^1 by rows, b^1, w^2, b^2 and so on."""
    numbers = iter(flat)
    return [
        ([[next(numbers) for _ in range(before)] for _ in range(nodes)], [next(numbers) for _ in range(nodes)])
        for before, nodes in pairwise(sizes)
    ]


def as_flat(layers):
    """Return the layers as one flat vector."""
    return [number for w, b in layers for part in (*w, b) for number in part]
