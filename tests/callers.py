"""Callbacks and custom parts such as users of the library write."""

import numpy as np

import distbp


class EndAfter(distbp.Callback):
    """Ends a run after a number of steps."""

    def __init__(self, steps):
        self._steps = steps

    def on_step(self, record):
        return record.step + 1 == self._steps


class Sine:
    """A custom activation."""

    def value(self, z):
        return np.sin(z)

    def derivative(self, z):
        return np.cos(z)


class Notes(distbp.Callback):
    """Collects the notes of a run."""

    def __init__(self):
        self.notes = []

    def on_note(self, text):
        self.notes.append(text)
