"""Data-parallel descent in plain classes, without Ray: worker, parameter server, reduction tree, order of examples."""
