import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import after_ray
import numpy as np
import pytest

from distbp.actors.connection.session import ray_session
from distbp.data import load
from distbp.system.signals import ENDING

pytest_plugins = ["drawn", "leftovers"]
collect_ignore = ["programs", "planned"]  # tests run this in a process of its own


def pytest_configure() -> None:
    """Let signals end the tests' processes even if the tests were started by nohup or in the background."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_IGN:  # a command rightly keeps ignoring these
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture
def data_folder():
    """Return the folder of the real data sets, which are too large for the repository."""
    given = os.environ.get("DISTBP_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set DISTBP_TEST_DATA to the folder that holds mnist/ and others")
    return folder


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits():
    return load("digits")


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[str]:
    """Start one private Ray for all tests that need none of their own, and return its address."""
    # Ray listens on 127.0.0.1 alone; unless this is set, other processes look for it at the machine's address.
    name = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    with ray_session(None, cpus=8), pytest.MonkeyPatch.context() as environment:
        import ray

        environment.setenv(name, "0")
        yield ray.get_runtime_context().gcs_address


@pytest.fixture(autouse=True)
def nothing_of_ray_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves something behind in Ray, not the next one."""
    if request.node.get_closest_marker("ray") is None:
        yield
    else:
        yield from after_ray.checked(request.node, "shared_ray" in request.fixturenames)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[after_ray.FAILED] = True
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the testbed's tests in order: the last ones kill hosts and then the head, which all of them share."""
    places = [place for place, item in enumerate(items) if item.path.name == "test_testbed.py"]
    in_order = sorted((items[place] for place in places), key=lambda item: item.location[1] or 0)
    for place, item in zip(places, in_order, strict=True):
        items[place] = item
