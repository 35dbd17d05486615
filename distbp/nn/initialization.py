"""Initial weights: random, so that nodes differ, and scaled, so that signals keep their size from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from distbp.errors import unknown_name
from distbp.nn.structure import Array, Structure
from distbp.randomness import Purpose, generator


def he(m_prev: int, m: int, random: np.random.Generator) -> Array:
    """Draw w from a normal distribution of variance 2 / m_{l-1} (He et al. 2015, eq. 10), for relu.

    The factor 2 compensates for the half of the nodes that relu sets to 0.
    """
    return random.normal(0.0, math.sqrt(2.0 / m_prev), (m, m_prev))


def glorot(m_prev: int, m: int, random: np.random.Generator) -> Array:
    """Draw w uniformly from +-sqrt(6 / (m_{l-1} + m_l)) (Glorot and Bengio 2010, eq. 16), for sigmoid and tanh."""
    limit = math.sqrt(6.0 / (m_prev + m))
    return random.uniform(-limit, limit, (m, m_prev))


SCHEMES: Mapping[str, Callable[[int, int, np.random.Generator], Array]] = {"he": he, "glorot": glorot}
"""Initialization schemes by name."""


def initial_weights(structure: Structure, scheme: str, seed: int, dtype: str = "float32") -> Array:
    """Return the initial parameter vector of a run; every b is 0.

    Weights are drawn in float64 and then rounded, so float32 and float64 runs start from the same weights.
    """
    if scheme not in SCHEMES:
        raise unknown_name("initial", scheme, SCHEMES)
    flat = np.zeros(structure.parameter_count, dtype)
    for l, layer in enumerate(structure.layers(flat)):
        random = generator(seed, Purpose.INITIAL_WEIGHTS, l + 1)
        layer.w[:] = SCHEMES[scheme](structure.sizes[l], structure.sizes[l + 1], random)
    connections = structure.connection_vector(dtype)
    return flat if connections is None else flat * connections
