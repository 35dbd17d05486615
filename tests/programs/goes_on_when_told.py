"""Train three epochs in ``run``; each waits at its end for the file go-EPOCH."""

import time
from pathlib import Path

import distbp


class Waits(distbp.Callback):
    """Waits at the end of each epoch."""

    def on_epoch_end(self, record: distbp.EpochRecord) -> None:
        while not Path(f"go-{record.epoch}").exists():
            time.sleep(0.01)


if __name__ == "__main__":
    distbp.train("digits", run_dir="run", workers=0, hidden=(16,), epochs=3, callbacks=[Waits()])
