"""Write a step log that exceeds the file-size limit. Argument: the folder."""

import resource
import sys
from pathlib import Path

from distbp.parallel.step.records import StepRecord
from distbp.runs.steplog import StepLog

if __name__ == "__main__":
    log = StepLog(Path(sys.argv[1]), (1,), print)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    for step in range(100):
        log.append(StepRecord(step, 1, 0.0, 0, layers=(1,)))
        log.flush()
