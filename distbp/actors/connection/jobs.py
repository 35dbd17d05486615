"""Runs on a cluster that is reached from outside: submitted through Ray's job API, followed, stopped and fetched."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from distbp.actors.connection.entrypoint import entrypoint
from distbp.data.upload import pack
from distbp.errors import ClusterError, DistbpError, RunError, UsageError
from distbp.runs.archive import unpack

ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
_RUN_DIRECTORY = "run_directory"
_PAUSES_OF_BROKEN = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each attempt to hear a job again whose connection broke."""


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str, token_file: Path | None = None, insecure: bool = False) -> None:
        """Connect to ``http://HEAD:8265``.

        Raises:
            UsageError: the address is none, or there is no such token file.
            ClusterError: the token file holds none, nobody answers there, the token is refused, or the cluster lets
                everybody in.
        """
        self._url = _checked_url(address)
        _set_token(token_file)
        try:
            import aiohttp  # noqa: F401  # of ray[default], without which the client fails late
            from ray.job_submission import JobSubmissionClient

            from distbp.actors.connection.dashboard import Dashboard
        except ImportError as error:
            raise ClusterError(f"{error.name} is missing: pip install 'distbp[cluster]'") from error
        for name in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.ERROR)
        logging.getLogger("ray._private.runtime_env.packaging").setLevel(logging.ERROR)
        self._dashboard = Dashboard(self._url)
        self._refuse_open_cluster(insecure)
        # Ray's own method would follow proxies and redirects.
        asking = type("Client", (JobSubmissionClient,), {"_do_request": partialmethod(_ask, self._dashboard)})
        with self._told():
            self._client = asking(self._url, verify=self._dashboard.certificates)

    def _refuse_open_cluster(self, insecure: bool) -> None:
        """Refuse a cluster elsewhere that would take jobs, and so code, from anybody."""
        answer = self._dashboard.request("GET", "/api/jobs/")
        if answer.status_code == 200 and not insecure and not self._dashboard.is_here:
            raise ClusterError(
                f"the cluster at {self._url} runs anybody's code: start it with RAY_AUTH_MODE=token, or use --insecure"
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what Ray's client raises into one line of ours."""
        from ray.exceptions import RayError

        try:
            yield
        except DistbpError:
            raise
        except (RuntimeError, OSError, RayError) as error:
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ClusterError(f"the cluster at {self._url}: {said}") from error
        except (TypeError, ValueError, KeyError, AttributeError) as error:  # an answer that its classes do not fit
            said = (str(error).strip().splitlines() or [""])[0]
            raise ClusterError(
                f"what the cluster at {self._url} answers is not understood by this Ray: {type(error).__name__} {said}"
            ) from error

    def submit(self, arguments: Sequence[str], data: Sequence[str], upload: bool, storage: str | None) -> str:
        """Have ``distbp train`` run on the cluster; return the job's name.

        Args:
            arguments: those of ``distbp train``, without DATA and --run-dir.
            data: DATA.
            upload: send DATA along, and the file of --test-file; else they are paths on the cluster, or names.
            storage: a folder that all hosts see, for the run directory; None for the head's home.

        Raises:
            UsageError: what is to be sent is not there, or too large; or a storage that depends on where a job runs.
            ClusterError: the cluster does not take it.
        """
        if storage is not None and not storage.startswith(("/", "~")):
            raise UsageError(f"--storage must be an absolute path, or one that begins with ~; found {storage!r}")
        name = f"distbp-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}"
        run_directory = f"{storage or '~/distbp-runs'}/{name}"
        package = Path(__file__).parents[1]
        environment: dict[str, Any] = {"py_modules": [str(package)]}
        with TemporaryDirectory() as folder:
            sent: list[str] = []
            if upload:
                archive = Path(folder) / "data.zip"
                arguments, data, digest = staged(arguments, data, archive)
                environment["working_dir"] = str(archive)
                sent = ["--sent", digest]
            with self._told():
                self._client.submit_job(
                    entrypoint=entrypoint([*sent, run_directory, *arguments, "--", *data]),
                    submission_id=name,
                    runtime_env=environment,
                    metadata={_RUN_DIRECTORY: run_directory},
                )
        return name

    def all(self) -> list[tuple[str, str, float]]:
        """Return name, status and start (seconds since 1970) of every job that was submitted so, newest first."""
        with self._told():
            jobs = self._client.list_jobs()
        ours = [job for job in jobs if _RUN_DIRECTORY in (job.metadata or {})]
        found = [(str(job.submission_id), str(job.status.value), (job.start_time or 0) / 1000) for job in ours]
        return sorted(found, key=lambda job: -job[2])

    def status(self, name: str) -> str:
        """Return PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
        return str(self._info(name).status.value)

    def _info(self, name: str) -> Any:
        with self._told():
            return self._client.get_job_info(name)

    def logs(self, name: str) -> str:
        """Return what a job has said so far."""
        with self._told():
            return _without_command(str(self._client.get_job_logs(name)))

    def follow(self, name: str, say: Callable[[str], None]) -> str:
        """Pass on what a job says until it has ended; return its status.

        A connection that breaks is made again; the job does not care.

        Raises:
            ClusterError: it could not be made again.
        """
        from aiohttp import ClientError

        told = 0

        async def tail() -> None:
            nonlocal told
            heard = 0
            async for text in self._client.tail_job_logs(name):  # from the beginning, each time
                shown = _without_command(text)
                fresh = shown[max(0, told - heard) :]
                heard += len(shown)
                told = max(told, heard)
                say(fresh)

        pauses = list(_PAUSES_OF_BROKEN)
        while True:
            try:
                with self._told():
                    try:
                        asyncio.run(tail())
                    except ClientError as error:
                        raise ConnectionError(str(error)) from error
                status = self.status(name)
            except ClusterError:
                if not pauses:
                    raise
                time.sleep(pauses.pop(0))
                continue
            if status in ENDED:
                return status
            time.sleep(0.5)

    def stop(self, name: str) -> None:
        """End a job; its run keeps its checkpoints.

        Raises:
            UsageError: it has ended before.
        """
        with self._told():
            is_stopping = self._client.stop_job(name)
        if not is_stopping:
            raise UsageError(f"{name} has ended already: {self.status(name)}")

    def fetch(self, name: str, target: Path, checkpoints: bool = False) -> None:
        """Bring a job's run directory here.

        Raises:
            UsageError: it is no job of ours, or ``target`` is taken.
            RunError: what came is damaged.
        """
        directory = (self._info(name).metadata or {}).get(_RUN_DIRECTORY)
        if directory is None:
            raise UsageError(f"{name} was not submitted by distbp: it has no run directory")
        check_target(target)
        # Ray's job API carries no files, but a job's words.
        command = entrypoint(["--pack", directory, *(["--checkpoints"] * checkpoints)])
        with self._told():
            helper = self._client.submit_job(
                entrypoint=command, runtime_env={"py_modules": [str(Path(__file__).parents[1])]}
            )
        while (status := self.status(helper)) not in ENDED:
            time.sleep(0.2)
        said = self.logs(helper)
        with self._told():
            self._client.delete_job(helper)
        if status != "SUCCEEDED":
            last = (said.strip().splitlines() or [status])[-1]
            raise RunError(f"the run directory of {name} could not be fetched: {last}")
        unpack(said, target)


def _ask(
    client: Any,
    dashboard: Any,
    method: str,
    path: str,
    *,
    data: bytes | None = None,
    json_data: Any = None,
    **more: Any,
) -> Any:
    """Send a request of Ray's client to the dashboard, with the cluster's token.

    Raises:
        ClusterError: the token is refused, or what answers is no dashboard.
    """
    answer = dashboard.request(method, path, data=data, json=json_data, headers=client._headers, **more)
    if answer.status_code in (401, 403):
        why = "set RAY_AUTH_TOKEN, or --token-file, to its token"
        raise ClusterError(f"the cluster at {dashboard.url} refuses this token: {why}")
    return answer


def _without_command(said: str) -> str:
    """Return a job's words without the line in which Ray says its command."""
    return re.sub(r"^Running entrypoint for job [^\n]*\n", "", said, count=1, flags=re.MULTILINE)


def check_target(target: Path) -> None:
    """Raise UsageError if something is there where a run is to be fetched to."""
    if target.exists():
        raise UsageError(f"{target} exists already: choose another folder to fetch to")


def staged(arguments: Sequence[str], data: Sequence[str], archive: Path) -> tuple[list[str], list[str], str]:
    """Pack what a command reads; return its arguments and DATA with their names there, and the hash of the list.

    Raises:
        UsageError: something is not there or cannot be sent, or all of it is too large.
    """
    sent = list(arguments)
    places = [k + 1 for k, name in enumerate(sent) if name == "--test-file"]
    names, digest = pack([*data, *(sent[k] for k in places)], archive)
    for k, name in zip(places, names[len(data) :], strict=True):
        sent[k] = name
    return sent, names[: len(data)], digest


def _set_token(token_file: Path | None) -> None:
    """Let Ray find the token; it never stands on a command line."""
    if token_file is not None:
        try:
            holds_one = len(token_file.read_text().split()) == 1
        except FileNotFoundError as error:
            raise UsageError(f"--token-file {token_file} does not exist") from error
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ClusterError(f"--token-file {token_file} cannot be read: {why}") from error
        if not holds_one:
            raise ClusterError(f"--token-file {token_file} must hold the cluster's token and nothing else")
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file)
        os.environ.pop("RAY_AUTH_TOKEN", None)
    has_token = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    os.environ.setdefault("RAY_AUTH_MODE", "token" if has_token else "disabled")


def _checked_url(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets that do not match
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--address must be the cluster's dashboard, such as http://HEAD:8265; found {address!r}")
    if "@" in parts.netloc:  # which messages would show
        raise UsageError("--address must hold no password: the cluster's token comes from a file or the environment")
    return address.rstrip("/")
