"""Updates that begin before the step is complete, while a host is lost."""

from contextlib import closing

import numpy as np
from parallel.clusters import STEPS, Cluster, alone, view_of
from parallel.hosts import config
from processes import wait_until

from distbp.parallel.mesh.frames import REPORT


def test_the_state_that_a_host_without_shards_still_needs_is_kept():
    settings = config(4)
    with closing(Cluster((1, 1, 0), settings)) as here:
        here.join_view(view_of(here.hosts, (1, 1, 0), settings))
        idle = here.hosts[2]._mesh
        received = idle.received

        def all_but_one_report(sender, frame, body):
            if (frame.kind, sender, frame.step) != (REPORT, 1, 4):
                received(sender, frame, body)

        idle.received = all_but_one_report  # so it never completes step 4, while the others continue with step 5
        here.run(0, STEPS)
        exchanges = here.hosts[0]._mesh._exchanges._open
        wait_until(lambda: 5 in exchanges and not exchanges[5].open)  # all totals of step 5 have arrived
        here.hosts.pop(1).close()
        done = []
        for host in here.hosts:
            ended, _ = here.wait(host)
            assert [number for number, _ in ended.reasons] == [1]
            done.append(ended.steps)
        assert done == [5, 4]
        assert not any(here.join_view(view_of(here.hosts, (1, 0), settings, number=2), 4).values())
        here.run(4, STEPS)
        for host in here.hosts:
            assert here.wait(host)[0].steps == STEPS
            assert np.array_equal(host.state(STEPS), alone(settings)[1])
