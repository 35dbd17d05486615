"""Fixture for clusters of hosts in one process."""

import pytest
from parallel.clusters import Cluster


@pytest.fixture
def cluster():
    made = []

    def make(workers, settings, faults=None):
        made.append(Cluster(workers, settings, faults))
        return made[-1]

    yield make
    for each in made:
        each.close()
