"""Readers of files, one module per format: each returns tables or arrays, and knows nothing of models.

- :mod:`.detect`: which reader fits a path or an object.
- :mod:`.table`: what a table is; :mod:`.text` and :mod:`.arff`, :mod:`.typed`, :mod:`.images` read one.
- :mod:`.dialect`: how a text is written (separator, header, comments); :mod:`.kinds`: the kinds of cells.
- :mod:`.npy`, :mod:`.npz`, :mod:`.idx`: arrays. :mod:`.predictions` writes predictions.
"""
