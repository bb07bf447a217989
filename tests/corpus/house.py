"""A service for the corpus: it sends rows, and says whether everything is as it was."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from examples.serving import Served, serving
from service.settings import ZOO
from tests.corpus import elsewhere
from tests.corpus.answer import Answer
from tests.corpus.frames import BINARY, TEXT, Closed, Stream, frame, upgrade
from tests.corpus.routes import CLOSED, GRU, PLAIN, SESSION, SPARE, STREAM, TAKEN, VALUES, Taker
from tests.corpus.rows import Row
from tests.corpus.streams import Handshake, Spoken
from tests.http.inprocess import ATTENTION
from tests.http.wire import Kept, Said, comes_true, connect, descriptors, one_answer, send, waiting

GOOD = b'{"sequences": [' + VALUES + b"]}"
LIMITS = {
    "SEQSERVE_KEEP_ALIVE_S": "120",  # a row may take a while on a busy machine
    "SEQSERVE_MAX_BODY_BYTES": "3000000",
    "SEQSERVE_MAX_ELEMENTS": "300000",
    "SEQSERVE_MAX_SEQUENCES": "64",
}
_FAILURE = re.compile(r"A batch of \d+ failed for \d+ requests\.")  # the model's
_JSON = "application/json"
_RECENT = 20_000  # bytes of the log


class House:
    """A service, a session in it, and how it was when nothing had happened."""

    def __init__(
        self,
        served: Served,
        folder: Path,
        client: httpx.Client,
        key: str,
        models: Mapping[str, str],  # place -> the model of its session
    ) -> None:
        self.served, self.client = served, client
        self._log = folder / "service.log"
        self._database = sqlite3.connect(f"file:{folder}/sessions.db?mode=ro", uri=True)
        self._key = {"x-api-key": key} if key else {}
        self.session, self._stepped, self._elsewhere = map(self._opened, (STREAM, STREAM, GRU))
        self._steps = 0  # that the second one has taken
        self._sessions = {
            SESSION: self.session,
            TAKEN: self._taken(),
            CLOSED: self._closed(),
            **{place: self._opened(models[place]) for place in models},
        }
        assert comes_true(lambda: waiting(served) == 0)
        self._looking = Kept(served)
        models = (f"/v1/admin/models/{SPARE}", f"/v1/models/{GRU}", f"/v1/models/{STREAM}")
        self._looks = [
            self._request(f"POST /v1/models/{GRU}/predict", GOOD),
            *(self._request(f"GET {path}") for path in ("/health/live", *models)),
        ]
        self._before = self._state()
        self._held = descriptors(served)

    def over_httpx(self, row: Row, taker: Taker) -> Answer:
        headers = {"content-type": _JSON} | dict(row.headers)
        sent = {
            name: value.encode("latin-1") for name, value in headers.items() if value is not None
        }
        answer = self.client.request(
            taker.method, self.of(row.path(taker)), content=self.of(row.body(taker)), headers=sent
        )
        return Answer(answer.status_code, answer.headers, answer.content)

    def over_a_socket(self, row: Row, taker: Taker) -> Answer:
        """Send it in two chunks, which takes the long way."""
        headers = {"content-type": _JSON} | dict(row.headers)
        lines = "".join(
            f"{name}: {value}\r\n" for name, value in headers.items() if value is not None
        )
        body = self.of(row.body(taker))
        half = len(body) // 2
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part
        )
        head = f"{taker.method} {self.of(row.path(taker))} HTTP/1.1\r\nHost: localhost\r\n{lines}"
        raw = head.encode("latin-1") + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        said = send(self.served, raw + chunks + b"0\r\n\r\n")
        return Answer(said.status, said.headers, said.body)

    def over_a_websocket(self, row: Row, taker: Taker) -> Answer:
        """Send it on a stream, and a good step after it."""
        body = self.of(row.body(taker))
        with self._stream() as stream:
            told = self._on(stream, frame(TEXT if body.isascii() else BINARY, body))
            self._steps_on(stream)
        return Answer(told["status"], {}, json.dumps(told["problem"]).encode())

    def raw(self, raw: bytes) -> Said:
        """Send bytes on a new connection; return the first answer."""
        with connect(self.served) as connection:
            connection.sendall(raw)
            return one_answer(connection)

    def logged(self, request_id: str) -> list[int]:
        """Return the statuses of the lines of a request, once there is one."""
        found: list[int] = []

        def look() -> bool:
            with self._log.open("rb") as log:
                log.seek(max(0, self._log.stat().st_size - _RECENT))
                # What comes after the last end of a line is being written.
                lines = map(json.loads, log.read().split(b"\n")[1:-1])
                found[:] = [
                    line["status"] for line in lines if line.get("request_id") == request_id
                ]
            return bool(found)

        comes_true(look)
        return found

    def over_a_handshake(self, row: Handshake) -> Answer:
        raw = upgrade(row.path, row.changes | {"x-request-id": "mine"}, row.method)
        said = self.raw(raw)
        assert said.headers["x-request-id"] == "mine", row.name
        return Answer(said.status, said.headers, said.body)

    def faults_of(self, row: Spoken) -> Iterator[str]:
        """Say a row on a stream of its own; yield what is wrong with what it is told."""
        asked = self._good_step()
        if row.elsewhere:
            asked["session"] = self._elsewhere
        try:
            with self._stream() as stream:
                told = self._on(stream, row.raw(asked))
                self._steps_on(stream)
        except Closed as exc:
            told = {"code": exc.code, "status": 0}
            with self._stream() as stream:
                self._steps_on(stream)
        if told.get("code", 0) != row.code or told["status"] != row.status:
            yield f"expected {row.code or row.status}, got {told!r:.300}"
        elif row.status:
            answer = Answer(told["status"], {}, json.dumps(told["problem"]).encode())
            yield from answer.faults(row)

    def _stream(self) -> AbstractContextManager[Stream]:
        return closing(Stream(self.served, f"/v1/models/{STREAM}/stream"))

    def _opened(self, model: str) -> str:
        path = f"/v1/models/{model}/sessions"
        answer = self.client.post(path, json={}, headers=self._key)
        return str(answer.raise_for_status().json()["session"])

    def _taken(self) -> str:
        """Open a session and take two steps."""
        session = self._opened(STREAM)
        for number in (1, 2):
            path, step = f"/v1/sessions/{session}/steps/{number}", {"values": [341.0]}
            self.client.post(path, json=step, headers=self._key).raise_for_status()
        return session

    def _closed(self) -> str:
        session = self._opened(STREAM)
        self.client.delete(f"/v1/sessions/{session}", headers=self._key).raise_for_status()
        return session

    def _on(self, stream: Stream, raw: bytes) -> dict[str, Any]:
        stream.send(raw)
        return stream.told()

    def _good_step(self) -> dict[str, Any]:
        return {"session": self._stepped, "step": self._steps + 1, "values": [341.0]}

    def _steps_on(self, stream: Stream) -> None:
        """Take one good step more; raise AssertionError."""
        told = self._on(stream, frame(TEXT, json.dumps(self._good_step()).encode()))
        assert told["status"] == 200, told
        self._steps += 1
        assert told["answer"]["step"] == told["answer"]["count"] == self._steps

    def of(self, text):
        """Put the sessions' ids in their places."""
        for place, session in self._sessions.items():
            if isinstance(text, bytes):
                text = text.replace(place.encode(), session.encode())
            else:
                text = text.replace(place, session)
        return text

    def faults(self) -> Iterator[str]:
        """Yield what is not as it was before."""
        before, self._before = self._before, self._state()
        for name, was in before.items():
            if self._before[name] != was:
                yield f"the {name} was {was!r:.150}, it is {self._before[name]!r:.150}"
        if not comes_true(lambda: descriptors(self.served) <= self._held, 5):
            yield f"{descriptors(self.served)} files are open, expected {self._held}"

    def close(self) -> None:
        self._looking.close()
        self._database.close()

    def _state(self) -> dict[str, object]:
        """Return what is looked at after each row, asked for at once."""
        exact, live, model, *queues = self._looking.ask(*self._looks)
        if any(map(_waiting, queues)):
            comes_true(lambda: waiting(self.served) == 0, 5)
            queues = self._looking.ask(*self._looks[-len(queues) :])
        return {
            "answer": (exact.status, exact.body),
            "liveness": live.status,
            "model": json.loads(model.body).get("desired"),
            "queues": [_waiting(each) for each in queues],
            "sessions": self._stored(),
        }

    def _request(self, what: str, body: bytes = b"") -> bytes:
        headers = {"host": "localhost", "content-type": _JSON, "content-length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers | self._key).items())
        return f"{what} HTTP/1.1\r\n{lines}\r\n".encode() + body

    def _stored(self) -> list[tuple[object, ...]]:
        """Return the sessions as they are stored, but for the one that takes good steps."""
        others = "SELECT * FROM session WHERE id <> ? ORDER BY id"
        return self._database.execute(others, [self._stepped]).fetchall()


def _waiting(said: Said) -> int:
    return sum(version["waiting"] for version in json.loads(said.body)["loaded"])


@contextmanager
def house(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    key: str = "",
    *,
    failing: bool = False,
) -> Iterator[House]:
    """
    Yield a service with models of its own, and look at its log when it has ended.

    ``key`` opens everything, where keys are asked for; ``failing`` adds models that fail.
    """
    models, log = folder / "models", folder / "service.log"
    for name in (GRU, STREAM, SPARE, ATTENTION):
        shutil.copytree(ZOO / name, models / name)
    more = elsewhere.publish(models) if failing else {}
    store = {"SEQSERVE_STORE": f"sqlite:///{folder}/sessions.db"}
    options = ("--models", str(models), "--provider", "cpu")
    with (
        serving(log, *options, environment=LIMITS | store | (environment or {})) as served,
        httpx.Client(base_url=served.url, timeout=30) as client,
    ):
        found = House(served, folder, client, key, {PLAIN: ATTENTION} | more)
        yield found
        found.close()
    text = log.read_text()
    assert "\x1b" not in text
    for line in text.splitlines():
        event = json.loads(line)["event"]
        assert event != "forged", line
        assert "Traceback" not in line or _FAILURE.fullmatch(event), line
