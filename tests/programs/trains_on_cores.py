"""Train on table.csv in either precision. Arguments: a name for the runs, optionally the step to interrupt at."""

import sys
from contextlib import suppress

import distbp
from distbp.errors import Interrupted


class Stop(distbp.Callback):
    """Ends a run after its fifth step, if asked to."""

    def on_step(self, record: distbp.StepRecord) -> bool:
        return sys.argv[2:] == [str(record.step)]


if __name__ == "__main__":
    for dtype in ("float32", "float64"):
        with suppress(Interrupted):
            distbp.train(
                "table.csv",
                target="y",
                dtype=dtype,
                run_dir=sys.argv[1] + dtype,
                callbacks=[Stop()],
                workers=0,
                epochs=1,
                hidden=(8,),
                batch_size=2048,
            )
