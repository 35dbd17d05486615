"""One step of data-parallel SGD in plain classes: worker, parameter server, shards, the tree that adds gradients."""
