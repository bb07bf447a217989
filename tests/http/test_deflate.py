"""Answers are compressed for who asks for one coding alone."""

import gzip

import pytest
from fastapi import Request

from service.http.deflate import LARGE, respond
from service.http.schemas.reply import Reply
from tests.http.inprocess import GRU, Service, weeks

BODY = {"sequences": [weeks(30), weeks(40)]}
PATH = f"/v1/models/{GRU}/predict"


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


@pytest.mark.parametrize("coding", ["gzip", "deflate", " GZIP "])
async def test_who_names_one_coding_gets_it(service: Service, coding):
    plain = await service.client.post(PATH, json=BODY)
    found = await service.client.post(PATH, json=BODY, headers={"accept-encoding": coding})
    assert found.headers["content-encoding"] == coding.strip().lower()
    assert int(found.headers["content-length"]) < len(plain.content)
    assert found.content == plain.content  # httpx has decoded it


@pytest.mark.parametrize("coding", ["", "gzip, deflate", "gzip;q=0", "br", "*", "identity"])
async def test_who_says_anything_else_gets_the_answer_as_it_is(service: Service, coding):
    found = await service.client.post(PATH, json=BODY, headers={"accept-encoding": coding})
    assert "content-encoding" not in found.headers


def request(coding: bytes) -> Request:
    return Request({"type": "http", "headers": [(b"accept-encoding", coding)]})


async def test_what_would_not_become_smaller_is_sent_as_it_is():
    found = await respond(Reply(b"[1.5]"), request(b"gzip"))
    assert found.body == b"[1.5]"
    assert "content-encoding" not in found.headers


async def test_a_large_answer_is_compressed_off_the_loop_and_keeps_its_headers():
    body = b"0.25, " * LARGE
    headers = {"inference-header-content-length": "7"}
    found = await respond(Reply(body, "application/octet-stream", headers), request(b"gzip"))
    assert gzip.decompress(found.body) == body
    assert found.headers["inference-header-content-length"] == "7"
    assert found.headers["content-type"] == "application/octet-stream"
    assert int(found.headers["content-length"]) == len(found.body)


async def test_a_refusal_is_never_compressed(service: Service):
    refused = await service.client.post(PATH, json={}, headers={"accept-encoding": "gzip"})
    assert refused.status_code == 422
    assert "content-encoding" not in refused.headers
