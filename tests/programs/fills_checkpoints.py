"""Write a small checkpoint and one that exceeds the file-size limit. Argument: the folder."""

import resource
import sys
from pathlib import Path

import numpy as np

from distbp.runs.checkpoint_writer import CheckpointWriter
from distbp.runs.checkpoints import Checkpoint

if __name__ == "__main__":
    writer = CheckpointWriter(Path(sys.argv[1]), print, lambda: None)
    writer.offer(Checkpoint(1, np.zeros((1, 10), np.float32), (), {}))
    writer.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    writer.offer(Checkpoint(2, np.zeros((1, 100_000), np.float32), (), {}))
    writer.close()
