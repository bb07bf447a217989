from collections.abc import AsyncIterator

import pytest

from tests.http.inprocess import Service, running


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with running() as service:
        yield service
