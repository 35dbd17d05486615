"""A job continues whether it is followed or not, and following reconnects if the connection breaks."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from distbp.actors.connection import jobs as jobs_module
from distbp.actors.connection.jobs import Jobs
from distbp.cli import jobs as commands
from distbp.cli import run
from distbp.errors import ClusterError

SUBMIT = ["submit", "--address", "http://head:8265", "--", "train", "digits"]


class _Fake:
    """The jobs of a cluster whose connection breaks at a certain moment."""

    def __init__(self, **breaks: BaseException) -> None:
        self._breaks = breaks

    def _may_break(self, moment: str) -> None:
        if moment in self._breaks:
            raise self._breaks[moment]

    def submit(self, *_: object) -> str:
        self._may_break("submit")
        return "distbp-1"

    def follow(self, *_: object) -> str:
        self._may_break("follow")
        return "SUCCEEDED"

    def fetch(self, *_: object) -> None:
        self._may_break("fetch")


@pytest.mark.parametrize(
    ("moment", "advice"),
    [
        ("submit", "the job may have been submitted: distbp jobs --address http://head:8265 lists the cluster's jobs"),
        (
            "follow",
            "distbp-1 continues on the cluster: distbp logs distbp-1 --address http://head:8265 --follow shows its "
            "progress, distbp stop distbp-1 --address http://head:8265 stops it",
        ),
        (
            "fetch",
            "the run is on the cluster; distbp fetch distbp-1 --address http://head:8265 -o runs/distbp-1 downloads it",
        ),
    ],
)
def test_an_interrupt_reports_that_the_job_continues_and_how_to_end_it(moment, advice, monkeypatch, capsys):
    monkeypatch.setattr(commands, "_jobs", lambda *_: _Fake(**{moment: KeyboardInterrupt()}))
    assert run(SUBMIT, 0.0) == 130
    assert capsys.readouterr().err.splitlines()[-3:] == [advice, "", "interrupted"]


def test_an_unreachable_cluster_does_not_end_a_job(monkeypatch, capsys):
    monkeypatch.setattr(commands, "_jobs", lambda *_: _Fake(follow=ClusterError("the cluster is gone")))
    assert run(SUBMIT, 0.0) == 1
    assert "distbp-1 continues on the cluster" in capsys.readouterr().err


class _Client:
    """Ray's client of a job whose connection breaks; after each reconnect the log starts from its beginning."""

    log = ('Running entrypoint for job j: exec "$p" -m x\none\ntw', "o\nthree\n", "four\n")

    def __init__(self, breaks: list[int]) -> None:
        self._breaks = breaks

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        chunks = self._breaks.pop(0) if self._breaks else None
        for text in self.log[:chunks]:
            yield text
        if chunks is not None:
            raise ConnectionError("broken")

    def get_job_info(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(status=SimpleNamespace(value="SUCCEEDED"))


def followed(breaks: list[int]) -> tuple[str, str]:
    jobs = Jobs.__new__(Jobs)
    jobs._client, jobs._url = _Client(breaks), "http://head:8265"
    output: list[str] = []
    return jobs.follow("j", output.append), "".join(output)


@pytest.mark.parametrize("breaks", [[], [0], [1, 2], [2, 1, 3]])
def test_the_log_is_written_once_though_the_connection_breaks(breaks, monkeypatch):
    pytest.importorskip("aiohttp", reason="distbp[cluster] is not installed")
    monkeypatch.setattr(jobs_module, "_RECONNECT_SECONDS", (0.0,) * 3)
    assert followed(breaks) == ("SUCCEEDED", "one\ntwo\nthree\nfour\n")


def test_a_connection_that_stays_broken_is_an_error(monkeypatch):
    pytest.importorskip("aiohttp", reason="distbp[cluster] is not installed")
    monkeypatch.setattr(jobs_module, "_RECONNECT_SECONDS", (0.0,) * 3)
    with pytest.raises(ClusterError, match=r"^the cluster at http://head:8265: broken$"):
        followed([1, 1, 1, 1])


def test_a_failed_fetch_writes_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "_jobs", lambda *_: _Fake(fetch=ClusterError("gone")))
    assert run(SUBMIT, 0.0) == 1
    assert list(Path().iterdir()) == []
