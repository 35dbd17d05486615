"""The messages from the launcher of a private Ray to the driver, without Ray."""

import os
import resource
import subprocess
import sys
from contextlib import ExitStack

import pytest

pytest.importorskip("ray")

from distbp.actors.connection.private_ray import PrivateRay


def test_messages_arrive_in_a_process_with_more_open_files_than_select_supports():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(2048, before[1])), before[1]))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        while (number := os.open(os.devnull, os.O_RDONLY)) < 1100:
            stack.callback(os.close, number)
        stack.callback(os.close, number)
        says = [sys.executable, "-c", 'print(\'{"address": "127.0.0.1:1"}\', flush=True); input()']
        ray = PrivateRay.__new__(PrivateRay)
        ray._output, ray._lost = b"", None
        ray._process = stack.enter_context(subprocess.Popen(says, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert ray.address(60.0) == "127.0.0.1:1"
        ray._process.stdin.close()
