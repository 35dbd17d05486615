"""Run trials under ASHA on two CPUs, some of which are killed once; print their results as JSON."""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

import distbp
import distbp.tune
from distbp.actors import ray_session

EPOCHS = 8
RATES = [0.03, 0.01, 1e-4, 0.001, 3e-5, 0.003, 1e-5, 3e-6]
SETTINGS = {"hidden": (16,), "epochs": EPOCHS, "shards": 2, "timeout": 60}


class KillOnce(distbp.Callback):
    def __init__(self, marker):
        self._marker = Path(marker)

    def on_start(self, run):
        if run.step > 0:
            self._marker.with_name(f"resumed-{self._marker.name}").touch()

    def on_checkpoint(self, record):  # called after the report to Tune
        if record.step > 0 and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def trial(settings):
    callbacks = [KillOnce(settings["marker"])] if settings["marker"] else []
    result = distbp.tune.train("digits", lr=settings["lr"], callbacks=callbacks, **SETTINGS)
    Path(settings["done"]).write_text(json.dumps(dict(result.summary)))


def actors():
    """Return the names of actors that are still alive after ten minutes."""
    found = []
    for _ in range(6000):
        found = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                name = " ".join(process.cmdline()).strip()
                if name.startswith("ray::") and not name.endswith(("IDLE", "IDLE_SpillWorker", "Agent")):
                    found.append(name)
        if not found:
            break
        time.sleep(0.1)
    return found


def main(folder, count, killed):
    with ray_session(None, cpus=2):
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler

        space = tune.grid_search(
            [
                {"lr": lr, "marker": f"{folder}/killed-{k}" if k < killed else "", "done": f"{folder}/done-{k}"}
                for k, lr in enumerate(RATES[:count])
            ]
        )
        asha = ASHAScheduler(time_attr="epoch", metric="test_cost", mode="min", max_t=EPOCHS + 1, grace_period=3)
        tuner = tune.Tuner(
            tune.with_resources(lambda config: trial(config["trial"]), distbp.tune.resources(workers=1)),
            param_space={"trial": space},
            tune_config=tune.TuneConfig(scheduler=asha, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=folder, failure_config=tune.FailureConfig(max_failures=2), verbose=0
            ),
        )
        results = tuner.fit()
        told = [
            {
                "lr": result.config["trial"]["lr"],
                "epoch": result.metrics["epoch"],
                "error": str(result.error or ""),
                "checkpoint": result.checkpoint is not None,
                "cost": result.metrics["test_cost"],
            }
            for result in results
        ]
        left = actors()
    print(json.dumps({"trials": told, "left": left}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
