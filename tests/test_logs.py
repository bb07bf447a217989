"""A log line is one record, whoever chose what is in it."""

import json
import logging
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from service.logs import configure, escape
from tests.http.inprocess import SMALL, running, weeks

# What ends a line for someone, commands a terminal, or turns text around.
HOSTILE = "\r\n\x1b[2K\x00\x07\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200b\U000e0001"


@contextmanager
def logging_as(style: str, **options) -> Iterator[None]:
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    kept = root.handlers[:], root.level, uvicorn.filters[:]
    configure("info", style, **options)
    try:
        yield
    finally:
        root.handlers[:], uvicorn.filters[:] = kept[0], kept[2]
        root.setLevel(kept[1])
        structlog.reset_defaults()


def everything_hostile() -> None:
    structlog.get_logger("it").info(f"a{HOSTILE}b", value=f"c{HOSTILE}d", **{f"k{HOSTILE}": 1})
    logging.getLogger("it").warning("%s asked", f"e{HOSTILE}f")
    logging.getLogger("it").warning("extra", extra={"more": HOSTILE})
    logging.getLogger("it").warning("half a character: %s", "\ud800")


@pytest.mark.parametrize("style", ["json", "text"])
def test_nothing_that_is_logged_ends_a_line_or_commands_a_terminal(style, capsys):
    with logging_as(style):
        everything_hostile()
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 4
    assert written.replace("\n", "").isprintable()


def test_what_was_escaped_reads_as_what_it_was(capsys):
    with logging_as("json"):
        everything_hostile()
    first, second, third, fourth = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["event"] == f"a{HOSTILE}b"
    assert first["value"] == f"c{HOSTILE}d"
    assert second["event"] == f"e{HOSTILE}f asked"
    assert third["more"] == HOSTILE
    assert fourth["event"].startswith("half a character: ")


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_traceback_cannot_be_taken_for_a_record(style, capsys):
    forged = "2026-01-01T00:00:00Z [info     ] all is well"
    with logging_as(style):
        error = ValueError(f"first\n{forged}\x1b[1A")
        logging.getLogger("it").error("It failed.", exc_info=error)
    written = capsys.readouterr().err
    lines = written.splitlines()
    assert not any(line.startswith(forged) for line in lines)
    assert written.replace("\n", "").isprintable()
    if style == "json":
        assert forged in json.loads(lines[0])["exception"]
    else:
        assert all(line.startswith("    ") for line in lines[1:])
        assert any("ValueError: first" in line for line in lines)


@given(st.text())
def test_an_escaped_text_prints_and_tells_texts_apart(text):
    assert escape(text).isprintable()
    if "\\" not in text:
        assert escape(text).encode("latin-1", "backslashreplace").decode("unicode_escape") == text


def test_what_prints_is_left_alone():
    text = "Grüße, 世界: 3 °C \\n"
    assert escape(text) == text
    assert all(unicodedata.category(each) not in {"Cc", "Zl", "Zp"} for each in escape(HOSTILE))


@pytest.mark.parametrize("style", ["json", "text"])
async def test_a_request_is_one_line_whatever_its_path_and_headers_say(style, capsys):
    path = "/v1/models/x%0D%0A%1B%5B2K%E2%80%A8%C2%85forged/predict"
    with logging_as(style):
        async with running() as service:
            for _ in range(2):
                await service.client.get(
                    path, headers=[(b"x-request-id", b"\x1b[2K"), (b"x-more", b"\x85\x9b")]
                )
            await service.client.get("/" + "a" * 5000)
    written = capsys.readouterr().err
    lines = [line for line in written.splitlines() if "received" in line]
    assert len(lines) == 3
    assert written.replace("\n", "").isprintable()
    assert max(map(len, lines)) < 600


async def test_a_prediction_is_logged_with_its_times_its_batch_its_model_and_its_bytes(capsys):
    body = {"sequences": [weeks(30), weeks(31)]}
    with logging_as("json"):
        async with running() as service:
            answer = await service.predict(body)
            await service.predict({"sequences": [[1]]})
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    good, refused = (each for each in told if each["event"] == "request")
    assert (good["model"], good["version"], good["batch"]) == ("co2-gru", 1, 2)
    assert good["received"] == len(answer.request.content)
    assert good["sent"] == len(answer.content)
    assert 0 < good["compute_seconds"] < good["seconds"]
    assert good["queue_seconds"] > 0
    assert (refused["status"], refused["problem"]) == (422, "invalid-sequence")
    assert "batch" not in refused


def websocket_lines() -> None:
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.info('%s - "WebSocket %s" [accepted]', "1.2.3.4:5", "/v1/models/a/stream")
    uvicorn.info("connection open")
    uvicorn.info("connection closed")
    uvicorn.info("Started server process [%d]", 1)
    uvicorn.error("connection of the store lost")


@pytest.mark.parametrize("access", [True, False])
def test_the_lines_of_websockets_come_with_the_access_log_and_go_with_it(access, capsys):
    with logging_as("json", access=access):
        websocket_lines()
    told = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    always = ["Started server process [1]", "connection of the store lost"]
    assert told[-2:] == always
    assert (len(told) > 2) is access


async def test_without_an_access_log_a_request_leaves_no_line(capsys):
    settings = SMALL.model_copy(update={"access_log": False})
    with logging_as("json", access=False):
        async with running(settings) as service:
            await service.predict({"sequences": [weeks(30)]})
    assert "request" not in [
        json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()
    ]
