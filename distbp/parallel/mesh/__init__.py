"""The exchange between hosts: every host sends the sums of its own shards to the others over TCP."""
