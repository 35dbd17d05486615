"""Ray Train's TorchTrainer on a private Ray: two workers of one CPU each, with the same loop as DDP."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

from work import Work, pin_processes, say

PROCESSES = 2


def loop(settings: dict[str, Any]) -> dict[str, Any]:
    """Run one of the workers; Ray Train keeps the first one's result."""
    from ray.train.torch import prepare_model
    from torch_loop import DDP_OPTIONS, run

    return run(settings["work"], lambda model: prepare_model(model, parallel_strategy_kwargs=DDP_OPTIONS))


def private_ray(folder: str) -> None:
    """Start a private Ray with all its files in ``folder``."""
    pin_processes()
    # Set before the import. This process has its own token, so that Ray uses none in the home folder.
    os.environ.update(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_worker_niceness="0",
        RAY_TRAIN_V2_ENABLED="1",
        # so that the workers can import the modules beside this one
        PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    )
    import ray

    ray.init(
        address="local",
        num_cpus=PROCESSES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=256 * 2**20,
        _temp_dir=folder,
    )


def train(work: Work, folder: str) -> dict[str, Any]:
    """Return the first worker's report."""
    import ray.train
    from ray.train.torch import TorchTrainer

    result = TorchTrainer(
        loop,
        train_loop_config={"work": work},
        scaling_config=ray.train.ScalingConfig(num_workers=PROCESSES, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(name="bench", storage_path=folder),
    ).fit()
    return dict(result.return_value)


def main() -> None:
    """Train, stop Ray, report."""
    work = Work.from_command_line(__doc__)
    with tempfile.TemporaryDirectory(prefix="distbp-bench-", ignore_cleanup_errors=True) as folder:
        private_ray(str(Path(folder, "ray")))
        import ray

        try:
            report = train(work, str(Path(folder, "runs")))
        finally:
            ray.shutdown()
    say(report)


if __name__ == "__main__":
    main()
