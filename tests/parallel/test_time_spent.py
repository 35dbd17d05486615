"""Time spent is counted for each worker, and last for the server."""

from pathlib import Path

from parallel.hosts import Host, config

from distbp.parallel.host.messages import RunEnded


def test_an_empty_slot_spends_no_time_and_the_server_is_counted_separately(tmp_path: Path) -> None:
    host = Host(tmp_path, 3, config())
    try:
        host.serve_in_thread()
        host.work_in_thread(0)
        host.wait_for(1)
        assert host.run(5) == RunEnded(steps=5)
        worker, *nobody, server = host.memory.spent.tolist()
    finally:
        host.close()
    assert worker > 0
    assert nobody == [0, 0]
    assert server > 0
