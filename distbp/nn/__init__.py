"""The lecture's mathematics on NumPy alone: structure, activations, costs, backpropagation.

Nothing here knows of workers, files or settings. Parameters are one flat vector; layers are views into it.
"""
