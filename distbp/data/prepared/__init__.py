"""Data sets on the disk: written once, verified by checksums, mapped into memory.

- :mod:`.writer` makes such a folder, :mod:`.reader` opens it; :mod:`.description` is its dataset.json.
- :mod:`.cache`: the user's cache of data sets that were prepared automatically.
- :mod:`.checksums`: mapped arrays whose blocks are verified on first use; :mod:`.mapped`: arrays passed by file name.
"""
