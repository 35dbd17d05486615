"""Ray itself: start a private one or connect to a cluster, its nodes and CPUs, whether it is alive, its jobs."""
