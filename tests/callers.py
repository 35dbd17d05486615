"""What calling programs bring to a run: callbacks, and parts of their own."""

import numpy as np

import distbp


class EndAfter(distbp.Callback):
    """Ends a run once so many steps are done."""

    def __init__(self, steps):
        self._steps = steps

    def on_step(self, record):
        return record.step + 1 == self._steps


class Sine:
    """An activation of the user's own."""

    def value(self, z):
        return np.sin(z)

    def derivative(self, z):
        return np.cos(z)


class Notes(distbp.Callback):
    """Keeps the notes of a run."""

    def __init__(self):
        self.notes = []

    def on_note(self, text):
        self.notes.append(text)
