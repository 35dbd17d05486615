"""Write checkpoints until killed; print a line once there are four. Argument: the folder."""

import sys
from itertools import count
from pathlib import Path

import numpy as np

from distbp.runs.checkpoints import Checkpoint, write_checkpoint

if __name__ == "__main__":
    for step in count():
        write_checkpoint(Path(sys.argv[1]), Checkpoint(step, np.full((1, 200_000), step, np.float32), (), {}))
        if step == 3:
            print(flush=True)
