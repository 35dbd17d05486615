"""Data that travel to a cluster are their owner's alone there."""

from distbp.data import upload


def test_what_is_sent_may_be_read_by_its_owner_alone() -> None:
    assert upload._info("x.npy").external_attr >> 16 == 0o600
    assert upload._info("folder/").external_attr >> 16 == 0o700
