"""All about Ray itself: starting a private Ray, connecting to a cluster, its nodes and CPUs, liveness, jobs."""
