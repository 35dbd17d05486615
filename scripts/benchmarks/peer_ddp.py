"""PyTorch's DistributedDataParallel over gloo: two processes of one thread each.

Where RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set, as torchrun sets them, this is one of the processes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel
from torch_loop import DDP_OPTIONS, PROCESSES, run
from work import Work, pin_processes, say


def process(rank: int, work: Work, rendezvous: str, processes: int = PROCESSES) -> None:
    """Run one process of the group, whose rendezvous is a URL; the first one reports."""
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=processes)
    report = run(work, lambda model: DistributedDataParallel(model, **DDP_OPTIONS))
    if rank == 0:
        say(report)
    dist.barrier()
    # gloo sometimes aborts the process that leaves the group second; the measurement is complete by then
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    """Start the processes and wait for them, or run one of them."""
    work = Work.from_command_line(__doc__)
    if "RANK" in os.environ:
        process(int(os.environ["RANK"]), work, "env://", int(os.environ["WORLD_SIZE"]))
    pin_processes()
    with tempfile.TemporaryDirectory(prefix="distbp-bench-") as folder:
        torch.multiprocessing.spawn(process, (work, Path(folder, "rendezvous").as_uri()), PROCESSES)


if __name__ == "__main__":
    main()
