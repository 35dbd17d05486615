"""Where ``auto`` chose workers and they cannot be started, this process does the work."""

import pytest

import distbp
from distbp import pools
from distbp.errors import ClusterError


def test_this_process_does_it_all_where_the_chosen_workers_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = pools.make_pool
    asked = []

    def without_ray(structure, config, *rest, **named):
        asked.append(config.workers)
        if config.workers:
            raise ClusterError("the private Ray on this machine did not start")
        return usual(structure, config, *rest, **named)

    monkeypatch.setattr(pools, "make_pool", without_ray)
    monkeypatch.setattr(pools, "most_useful_workers", lambda config: 2)
    monkeypatch.setattr(pools, "RAY_START_SECONDS", -1e9)  # so that workers are worth a try
    notes = []

    class Notes(distbp.Callback):
        def on_note(self, text: str) -> None:
            notes.append(text)

    result = distbp.train("digits", workers="auto", epochs=1, callbacks=[Notes()])
    assert asked == [2, 0]
    assert result.summary["workers"] == 0
    (note,) = [text for text in notes if text.startswith("workers: this process")]
    cause = "the private Ray on this machine did not start"
    assert note.endswith(f"2 workers cannot be used ({cause}): this process")
