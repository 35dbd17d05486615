from collections.abc import Iterator

import pytest

from distbp.actors.session import ray_session


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[str]:
    """One private Ray for all tests that need no Ray of their own; runs in this process use it. Its address."""
    with ray_session(None, cpus=8, store_bytes=300 * 2**20):
        import ray

        yield ray.get_runtime_context().gcs_address
