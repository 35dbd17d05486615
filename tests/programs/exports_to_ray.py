"""Train on a private Ray and print the run's metrics as soon as its node exports any."""

import json
import time
import urllib.request
from contextlib import suppress

import distbp
from distbp.actors import ray_session
from distbp.tracking import RayMetrics

if __name__ == "__main__":
    with ray_session(None, cpus=3):
        import ray

        distbp.train("digits", workers=2, hidden=(16,), epochs=3, callbacks=[RayMetrics("elm")])
        text, where = "", f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
        while "distbp_epoch" not in text:
            time.sleep(0.1)
            with suppress(OSError):
                text = urllib.request.urlopen(where, timeout=600).read().decode()
    print(json.dumps([line for line in text.splitlines() if "distbp_" in line and not line.startswith("#")]))
