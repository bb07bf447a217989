"""The OpenAPI document is of the models that serve, and holds nobody up."""

import asyncio
import re

import pytest

from tests.http.inprocess import GRU, SMALL, Service, running


async def test_while_the_document_is_written_others_are_served_and_then_it_is_kept():
    async with running() as service:
        asked = [asyncio.create_task(service.client.get("/openapi.json")) for _ in range(2)]
        for _ in range(3):
            assert (await service.client.get("/health/live")).status_code == 200
        assert not any(task.done() for task in asked)
        first, second = [(await task).content for task in asked]
        assert first == second
        began = asyncio.get_running_loop().time()
        for _ in range(10):
            assert (await service.client.get("/openapi.json")).content == first
        assert asyncio.get_running_loop().time() - began < 0.5


async def test_a_model_that_serves_no_more_is_no_longer_in_the_document(tmp_path):
    async with running(SMALL.model_copy(update={"states": tmp_path})) as service:
        assert f'"for {GRU}"' in (await service.client.get("/openapi.json")).text
        await service.engine.changes.unload(GRU)
        assert f'"for {GRU}"' not in (await service.client.get("/openapi.json")).text


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_browser_without_the_net_finds_here_all_that_a_page_loads(service: Service, page):
    answer = await service.client.get(page)
    assert answer.status_code == 200
    assert "://" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    loaded = re.findall(r"""(?:src|href|spec-url)="([^"]+)"|url: '([^']+)'""", answer.text)
    names = {first or second for first, second in loaded}
    assert {"openapi.json", "docs/favicon.png"} < names
    for name in names:
        assert len((await service.client.get(f"/{name}")).content) > 1_000
