"""Bodies: what encodings are taken off, what is too much, and where the large ones are read."""

import asyncio
import gzip
import threading
import time
import zlib

import httpx
import orjson
import pytest

from service.http.errors import BodyTooLarge, TooManyBodies, UnsupportedEncoding
from service.http.request.inflate import Inflater
from service.http.request.limits import Limits
from service.http.request.reading import LARGE, Hold, Reading
from tests.http.inprocess import GRU, SMALL, Service, running, weeks

PATH = f"/v1/models/{GRU}/predict"
GOOD = orjson.dumps({"sequences": [weeks(30)]})
ZIPPED = gzip.compress(GOOD, mtime=0)  # a test is named by it
PACKED = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
ROOMY = SMALL.model_copy(update={"max_body_bytes": 2**24, "max_elements": 50_000})


async def send(service: Service, body: bytes, encoding: str) -> httpx.Response:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    return await service.client.post(PATH, content=body, headers=headers)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP", "identity"])
async def test_an_encoding_changes_no_answer(service: Service, encoding):
    body = PACKED.get(encoding.lower(), bytes)(GOOD)
    packed = await send(service, body, encoding)
    assert packed.status_code == 200
    assert packed.content == (await send(service, GOOD, "identity")).content


async def test_a_length_with_thousands_of_zeros_is_the_number_it_is(service: Service):
    for size, status in ((len(GOOD), 200), (10**9, 413)):
        headers = {"content-type": "application/json", "content-length": "0" * 5000 + str(size)}
        assert (
            await service.client.post(PATH, content=GOOD, headers=headers)
        ).status_code == status


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (GOOD, "br"),
        (GOOD, "gzip"),
        (GOOD, "deflate"),
        (ZIPPED, "deflate"),
        (zlib.compress(GOOD), "gzip"),
        (ZIPPED, "gzip, gzip"),
        (gzip.compress(ZIPPED, mtime=0), "gzip, gzip"),
        (ZIPPED[:-1], "gzip"),
        (ZIPPED[:20], "gzip"),
        (ZIPPED + b"more", "gzip"),
        (ZIPPED[:-5] + b"wrong", "gzip"),
        (b"", "gzip"),
    ],
)
async def test_an_encoding_that_is_unknown_or_a_lie_is_refused_with_those_that_are_known(
    service: Service, body, encoding
):
    answer = await send(service, body, encoding)
    assert answer.status_code == 415, answer.text
    assert answer.json()["type"] == "urn:seqserve:problem:unsupported-encoding"
    assert answer.headers["accept-encoding"] == "gzip, deflate"


async def test_what_would_be_too_large_once_inflated_is_refused_before_it_is(service: Service):
    bomb = gzip.compress(b" " * 2**28, 1)
    assert len(bomb) > SMALL.max_body_bytes
    bomb = gzip.compress(b" " * 2**26)
    began = time.process_time()
    answer = await send(service, bomb, "gzip")
    assert answer.status_code == 413
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("size", [LARGE, LARGE + 1, 2**20])
def test_exactly_the_limit_fits_and_one_more_does_not(size):
    for pack, encoding in ((gzip.compress, "gzip"), (zlib.compress, "deflate")):
        inflater = Inflater(encoding, size)
        inflater.begin(pack(b"x" * size), LARGE)
        assert inflater.finish() == b"x" * size
        inflater = Inflater(encoding, size)
        inflater.begin(pack(b"x" * (size + 1)), LARGE)
        with pytest.raises(BodyTooLarge):
            inflater.finish()
        inflater = Inflater(encoding, size)
        inflater.begin(pack(b"x" * size)[:-3], LARGE)
        with pytest.raises(UnsupportedEncoding):
            inflater.finish()


async def test_more_elements_than_the_limit_are_refused_before_any_is_made():
    async with running(ROOMY) as service:
        for body in (
            b'{"sequences": [[' + b",".join([b"[4]"] * 2_000_000) + b"]]}",
            gzip.compress(b'{"sequences": [' + b"[" * 60_000),
        ):
            answer = await send(service, body, "gzip" if body[:1] == b"\x1f" else "identity")
            problem = answer.json()
            assert answer.status_code == 422
            assert problem["type"] == "urn:seqserve:problem:too-many-elements"
            assert "at most 50000 " in problem["detail"]
        fits = orjson.dumps({"sequences": [weeks(100)] * 64})
        assert (await send(service, fits, "identity")).status_code == 200


async def test_binary_tensors_are_not_counted_as_elements():
    values = b",[{," * 60_000  # floats that would be counted
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "sequences",
                    "shape": [1, 60_000, 1],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": len(values)},
                }
            ]
        }
    )
    async with running(ROOMY) as service:
        answer = await service.client.post(
            f"/v2/models/{GRU}/infer",
            content=head + values,
            headers={"inference-header-content-length": str(len(head))},
        )
    assert answer.status_code == 422
    assert "26 to 104 steps, got 60000" in answer.json()["detail"]


async def test_a_large_body_is_answered_as_a_small_one_is():
    async with running(ROOMY) as service:
        rows = [weeks(100, 300 + number) for number in range(64)]
        small = await send(service, orjson.dumps({"sequences": rows}), "identity")
        large = orjson.dumps({"sequences": rows}) + b" " * LARGE
        assert (await send(service, large, "identity")).content == small.content
        assert (await send(service, gzip.compress(large), "gzip")).content == small.content
        wrong = await send(service, large.replace(b"300.", b'"00.', 1), "identity")
        assert wrong.status_code == 400


async def test_large_bodies_wait_for_each_other_and_only_so_many_bytes_are_held():
    with Reading(3 * LARGE) as reading:
        running_, order = [], []

        def work() -> None:
            running_.append(1)
            assert len(running_) == 1
            time.sleep(0.01)
            order.append(running_.pop())

        async def one(size: int) -> None:
            with Hold(reading) as hold:
                hold.grow(size)
                await hold.read(work, large=True)

        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(one(LARGE + 1))
        assert order == [1, 1]
        assert reading.held == 0
        with Hold(reading) as first, Hold(reading) as second:
            first.grow(2 * LARGE)
            second.grow(LARGE)  # small: not counted
            with pytest.raises(TooManyBodies):
                second.grow(2 * LARGE)
            assert reading.held == 2 * LARGE
        assert reading.held == 0


async def test_a_body_counts_until_its_reading_has_ended_even_if_nobody_waits_for_it():
    with Reading(4 * LARGE) as reading:
        began, go = threading.Event(), threading.Event()

        def work() -> None:
            began.set()
            assert go.wait(10)

        async def one() -> None:
            with Hold(reading) as hold:
                hold.grow(2 * LARGE)
                await hold.read(work, large=True)

        task = asyncio.create_task(one())
        assert await asyncio.to_thread(began.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reading.held == 2 * LARGE
        go.set()
        await asyncio.to_thread(reading.submit(int).result)
        assert reading.held == 0


async def test_a_body_may_be_as_deep_as_the_setting_says_and_no_deeper():
    flat, rows = weeks(30), [[value] for value in weeks(30)]
    settings = SMALL.model_copy(update={"max_depth": 3})
    async with running(settings) as service:
        for body, status in (
            ({"sequences": [flat]}, 200),
            ({"sequences": [rows]}, 400),
            ({"sequences": [{"id": "]]]", "values": flat}]}, 400),
            ({"sequences": [flat], "quantiles": [0.1]}, 200),
        ):
            answer = await service.predict(body)
            assert answer.status_code == status
        assert answer.json()["predictions"]
        told = await service.predict({"sequences": [rows]})
    assert told.json()["detail"] == "The body is nested more than 3 deep."
    assert Limits(64, 200_000, 30_000, max_depth=3).plain_bytes == 0  # none takes the short way
