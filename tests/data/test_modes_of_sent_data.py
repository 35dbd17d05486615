"""Data that travel to a cluster are their owner's alone there."""

from distbp.data import sent


def test_what_is_sent_may_be_read_by_its_owner_alone() -> None:
    assert sent._info("x.npy").external_attr >> 16 == 0o600
    assert sent._info("folder/").external_attr >> 16 == 0o700
