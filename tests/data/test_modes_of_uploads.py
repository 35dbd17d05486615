"""Data sent to a cluster are private to their owner there."""

from distbp.data import upload


def test_uploaded_files_are_readable_only_by_their_owner() -> None:
    assert upload._info("x.npy").external_attr >> 16 == 0o600
    assert upload._info("folder/").external_attr >> 16 == 0o700
