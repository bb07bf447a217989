"""Every key that does not open a route, on each that takes a body, before the body is read."""

from collections.abc import Iterator
from itertools import cycle

import pytest

from tests.corpus.access import all_scopes, gone, rows
from tests.corpus.answer import Answer
from tests.corpus.house import House, house
from tests.corpus.routes import BODILESS, GRU, TAKERS, Taker
from tests.corpus.rows import Row
from tests.corpus.streams import Handshake
from tests.keys.made import Keys

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[tuple[House, list[Row]]]:
    """Yield a service that asks for keys, and what is wrong with some."""
    folder = tmp_path_factory.mktemp("access")
    keys = Keys(folder)
    good, used = all_scopes(keys, "good"), gone(keys)
    found = rows(keys, used)
    with house(folder, keys.environment, good) as service:
        for text in used:
            asked = service.client.get(f"/v1/models/{GRU}", headers={"x-api-key": text})
            assert asked.status_code == 200
        yield service, found
    log = (folder / "service.log").read_text()
    assert [text for text in keys.issued if text[17:] in log] == []
    assert "forged" not in log


def ask(service: House, way: str, row: Row, taker: Taker) -> Answer:
    if taker.method == "WS":
        path = service.of(taker.path)
        return service.over_a_handshake(Handshake("", row.status, "", row.headers, path))
    return service.over_httpx(row, taker) if way == "httpx" else service.over_a_socket(row, taker)


@pytest.mark.parametrize(
    "taker", TAKERS + BODILESS, ids=lambda taker: f"{taker.method} {taker.template}"
)
def test_a_key_that_does_not_open_a_route_gets_its_answer_and_changes_nothing(guarded, taker):
    (service, found), ways = guarded, cycle(["httpx", "socket"])
    if "{version}" in taker.template:
        next(ways)
    faults = []
    for row in found:
        way = next(ways)
        if not row.fits(taker):
            continue
        answer = ask(service, way, row, taker)
        faults += [f"{row.name}, {way}: {each}" for each in answer.faults(row, row.says(taker))]
        faults += [f"after {row.name}: {each}" for each in service.faults()]
    assert not faults, "\n".join(faults)
