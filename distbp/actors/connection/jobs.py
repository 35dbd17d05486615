"""Submit runs to a cluster through Ray's job API, follow and stop them, and fetch their run directories."""

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
_RECONNECT_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before each attempt to reconnect to a job's log."""
_PACKAGE = Path(__file__).parents[2]
"""The folder of distbp itself, which every job is sent."""


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, address: str, token_file: Path | None = None, insecure: bool = False) -> None:
        """Connect to ``http://HEAD:8265``.

        Raises:
            UsageError: the address is invalid, or the token file does not exist.
            ClusterError: the token file contains no token, no dashboard answers, the token is refused, or the cluster
                is open to everyone.
        """
        self._url = _checked_url(address)
        _set_token(token_file)
        try:
            import aiohttp  # noqa: F401  # part of ray[default]; without it the client fails only later
            from ray.job_submission import JobSubmissionClient

            from distbp.actors.connection.dashboard import Dashboard
        except ImportError as error:
            raise ClusterError(f"{error.name} is missing: pip install 'distbp[cluster]'") from error
        for name in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.ERROR)
        logging.getLogger("ray._private.runtime_env.packaging").setLevel(logging.ERROR)
        self._dashboard = Dashboard(self._url)
        self._refuse_open_cluster(insecure)
        # Ray's own method would use proxies and follow redirects.
        client = type("Client", (JobSubmissionClient,), {"_do_request": partialmethod(_request, self._dashboard)})
        with self._errors_as_one_line():
            self._client = client(self._url, verify=self._dashboard.certificates)

    def _refuse_open_cluster(self, insecure: bool) -> None:
        """Refuse a cluster on another machine that accepts jobs, and so code, without a token."""
        answer = self._dashboard.request("GET", "/api/jobs/")
        if answer.status_code == 200 and not insecure and not self._dashboard.is_local:
            raise ClusterError(
                f"the cluster at {self._url} runs code from anyone: start it with RAY_AUTH_MODE=token, or "
                "use --insecure"
            )

    @contextmanager
    def _errors_as_one_line(self) -> Iterator[None]:
        """Replace an error of Ray's client by a ClusterError of one line."""
        from ray.exceptions import RayError

        try:
            yield
        except DistbpError:
            raise
        except (RuntimeError, OSError, RayError) as error:
            line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ClusterError(f"the cluster at {self._url}: {line}") from error
        except (TypeError, ValueError, KeyError, AttributeError) as error:  # the response does not fit its classes
            line = (str(error).strip().splitlines() or [""])[0]
            raise ClusterError(
                f"this Ray does not understand the answer of the cluster at {self._url}: {type(error).__name__} {line}"
            ) from error

    def submit(self, arguments: Sequence[str], data: Sequence[str], upload: bool, storage: str | None) -> str:
        """Run ``distbp train`` on the cluster; return the job's name.

        Args:
            arguments: the arguments of ``distbp train``, without DATA and --run-dir.
            data: the arguments DATA.
            upload: send DATA and the --test-file with the job; otherwise they are paths on the cluster, or names.
            storage: a folder shared by all hosts, for the run directory; None for the head's home.

        Raises:
            UsageError: a file to send is missing or too large, or ``storage`` is not an absolute path.
            ClusterError: the cluster does not accept the job.
        """
        if storage is not None and not storage.startswith(("/", "~")):
            raise UsageError(f"--storage must be an absolute path or begin with ~; found {storage!r}")
        name = f"distbp-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}"
        run_directory = f"{storage or '~/distbp-runs'}/{name}"
        environment: dict[str, Any] = {"py_modules": [str(_PACKAGE)]}
        with TemporaryDirectory() as folder:
            sent: list[str] = []
            if upload:
                archive = Path(folder) / "data.zip"
                arguments, data, digest = staged(arguments, data, archive)
                environment["working_dir"] = str(archive)
                sent = ["--sent", digest]
            with self._errors_as_one_line():
                self._client.submit_job(
                    entrypoint=entrypoint([*sent, run_directory, *arguments, "--", *data]),
                    submission_id=name,
                    runtime_env=environment,
                    metadata={_RUN_DIRECTORY: run_directory},
                )
        return name

    def all(self) -> list[tuple[str, str, float]]:
        """Return name, status and start (seconds since 1970) of every job that distbp submitted, newest first."""
        with self._errors_as_one_line():
            jobs = self._client.list_jobs()
        ours = [job for job in jobs if _RUN_DIRECTORY in (job.metadata or {})]
        rows = [(str(job.submission_id), str(job.status.value), (job.start_time or 0) / 1000) for job in ours]
        return sorted(rows, key=lambda row: -row[2])

    def status(self, name: str) -> str:
        """Return PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
        return str(self._info(name).status.value)

    def _info(self, name: str) -> Any:
        with self._errors_as_one_line():
            return self._client.get_job_info(name)

    def logs(self, name: str) -> str:
        """Return a job's output so far."""
        with self._errors_as_one_line():
            return _without_command(str(self._client.get_job_logs(name)))

    def follow(self, name: str, write: Callable[[str], None]) -> str:
        """Pass a job's output to ``write`` until the job ends; return its status.

        Reconnects if the connection breaks, which does not affect the job.

        Raises:
            ClusterError: reconnecting failed.
        """
        from aiohttp import ClientError

        written = 0

        async def tail() -> None:
            nonlocal written
            received = 0
            async for text in self._client.tail_job_logs(name):  # from the log's beginning after each reconnect
                shown = _without_command(text)
                fresh = shown[max(0, written - received) :]
                received += len(shown)
                written = max(written, received)
                write(fresh)

        pauses = list(_RECONNECT_SECONDS)
        while True:
            try:
                with self._errors_as_one_line():
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
        """Stop a job; its run keeps its checkpoints.

        Raises:
            UsageError: the job has already ended.
        """
        with self._errors_as_one_line():
            is_stopping = self._client.stop_job(name)
        if not is_stopping:
            raise UsageError(f"{name} has already ended: {self.status(name)}")

    def fetch(self, name: str, target: Path, checkpoints: bool = False) -> None:
        """Copy a job's run directory to ``target`` on this machine.

        Raises:
            UsageError: distbp did not submit the job, or ``target`` exists.
            RunError: the run directory cannot be read, or arrives damaged.
        """
        directory = (self._info(name).metadata or {}).get(_RUN_DIRECTORY)
        if directory is None:
            raise UsageError(f"{name} was not submitted by distbp: it has no run directory")
        check_target(target)
        # Ray's job API transfers no files, so a second job prints the packed run directory.
        command = entrypoint(["--pack", directory, *(["--checkpoints"] * checkpoints)])
        with self._errors_as_one_line():
            packing = self._client.submit_job(entrypoint=command, runtime_env={"py_modules": [str(_PACKAGE)]})
        while (status := self.status(packing)) not in ENDED:
            time.sleep(0.2)
        output = self.logs(packing)
        with self._errors_as_one_line():
            self._client.delete_job(packing)
        if status != "SUCCEEDED":
            last = (output.strip().splitlines() or [status])[-1]
            raise RunError(f"cannot fetch the run directory of {name}: {last}")
        unpack(output, target)


def _request(
    client: Any,
    dashboard: Any,
    method: str,
    path: str,
    *,
    data: bytes | None = None,
    json_data: Any = None,
    **more: Any,
) -> Any:
    """Send a request to the dashboard through Ray's job client, with the cluster's token.

    Raises:
        ClusterError: the dashboard refuses the token, or no dashboard answers.
    """
    answer = dashboard.request(method, path, data=data, json=json_data, headers=client._headers, **more)
    if answer.status_code in (401, 403):
        raise ClusterError(
            f"the cluster at {dashboard.url} refuses this token: set RAY_AUTH_TOKEN or --token-file to its token"
        )
    return answer


def _without_command(log: str) -> str:
    """Return a job's log without the line in which Ray shows its command."""
    return re.sub(r"^Running entrypoint for job [^\n]*\n", "", log, count=1, flags=re.MULTILINE)


def check_target(target: Path) -> None:
    """Raise UsageError if the folder to fetch to already exists."""
    if target.exists():
        raise UsageError(f"{target} already exists: choose another folder to fetch to")


def staged(arguments: Sequence[str], data: Sequence[str], archive: Path) -> tuple[list[str], list[str], str]:
    """Pack a command's input files; return its arguments and DATA with their names in the archive, and its digest.

    Raises:
        UsageError: a file is missing or cannot be sent, or the files are too large together.
    """
    sent = list(arguments)
    indices = [k + 1 for k, name in enumerate(sent) if name == "--test-file"]
    names, digest = pack([*data, *(sent[k] for k in indices)], archive)
    for k, name in zip(indices, names[len(data) :], strict=True):
        sent[k] = name
    return sent, names[: len(data)], digest


def _set_token(token_file: Path | None) -> None:
    """Pass the token to Ray through the environment: command lines are visible to other users."""
    if token_file is not None:
        try:
            holds_one = len(token_file.read_text().split()) == 1
        except FileNotFoundError as error:
            raise UsageError(f"--token-file {token_file} does not exist") from error
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ClusterError(f"--token-file {token_file} cannot be read: {why}") from error
        if not holds_one:
            raise ClusterError(f"--token-file {token_file} must contain the cluster's token and nothing else")
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file)
        os.environ.pop("RAY_AUTH_TOKEN", None)
    has_token = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    os.environ.setdefault("RAY_AUTH_MODE", "token" if has_token else "disabled")


def _checked_url(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # unbalanced brackets
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--address must be the URL of the cluster's dashboard, such as http://HEAD:8265; found {address!r}"
        )
    if "@" in parts.netloc:  # messages would show it
        raise UsageError(
            "--address must not contain a password: the cluster's token comes from a file or the environment"
        )
    return address.rstrip("/")
