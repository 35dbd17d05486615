"""Data-parallel SGD without Ray: the computation of a step, the exchange between hosts, and the processes of a host."""
