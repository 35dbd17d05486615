"""The lecture's mathematics on NumPy alone: structure, activations, costs, backpropagation.

No module of this package knows about workers or files. Parameters are one flat vector; layers are views into it.
"""
