import inspect
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.http.inprocess import Service, running


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with running() as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting() -> AsyncIterator[Service]:
    """Yield a service for all tests of a module, which neither change it nor count what it did."""
    async with running() as service:
        yield service


def pytest_collection_modifyitems(items):
    """Have a test that asks a lasting service run in the loop of that service."""
    for item in items:
        if "lasting" in item.fixturenames and inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)
