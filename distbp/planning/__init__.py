"""Before a run: benchmark cases, cost estimates for this machine and for several hosts, checks of the machines."""
