"""Every wrong body, on every route that takes one: the tabled answer, and nothing else changes."""

import json
import re
from collections.abc import Iterator
from itertools import cycle

import pytest

from models.repository import Repository
from service.engine.core import Engine
from service.http.app import create_app
from service.http.meters.metrics import Metrics
from tests.corpus import elsewhere, ids, names, rows, streams, tables, tensors
from tests.corpus.answer import Answer
from tests.corpus.house import House, house
from tests.corpus.routes import BODILESS, TAKERS, takers_of
from tests.http.inprocess import SMALL
from tests.http.wire import comes_true

ROWS = [*rows.ROWS, *names.ROWS, *tensors.ROWS, *tables.ROWS, *elsewhere.ROWS]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("corpus"), failing=True) as found:
        yield found


def test_every_route_that_takes_a_body_is_in_the_corpus(tmp_path):
    metrics = Metrics()
    engine = Engine(Repository(SMALL.models), SMALL.engine_options(), metrics.observer)
    found = takers_of(
        create_app(
            engine,
            SMALL,
            metrics,
            SMALL.model_copy(update={"store": f"sqlite:///{tmp_path}/s.db"}).open_store(),
        )
    )
    known = {(taker.method, taker.template) for taker in TAKERS + BODILESS}
    assert found - known == set(), "say in tests/corpus/routes.py what a good body of these is"
    assert known - found == set(), "these are no routes any more"


@pytest.mark.parametrize("taker", TAKERS, ids=lambda taker: f"{taker.method} {taker.template}")
def test_what_is_wrong_gets_its_answer_and_changes_nothing(service: House, taker):
    # A row goes one way on a route, and the other on its neighbour, which has a version.
    ways = cycle([service.over_httpx, service.over_a_socket])
    if "{version}" in taker.template:
        next(ways)
    faults = []
    for each_row in ROWS:
        way = next(ways) if taker.method != "WS" else service.over_a_websocket
        if not each_row.fits(taker):
            continue
        row = each_row.on(taker)
        answer: Answer = way(row, taker)
        faults += [
            f"{row.name}, {way.__name__}: {each}" for each in answer.faults(row, row.says(taker))
        ]
        faults += [f"after {row.name}: {each}" for each in service.faults()]
    assert not faults, "\n".join(faults)


def test_an_upgrade_that_is_none_gets_its_answer_and_changes_nothing(service: House):
    faults = []
    for row in streams.HANDSHAKES:
        faults += [f"{row.name}: {each}" for each in service.over_a_handshake(row).faults(row)]
        faults += [f"after {row.name}: {each}" for each in service.faults()]
    assert not faults, "\n".join(faults)


def test_what_is_wrong_on_a_stream_is_told_and_a_good_step_after_it_is_taken(
    service: House,
):
    faults = []
    for row in streams.SPOKEN:
        faults += [f"{row.name}: {each}" for each in service.faults_of(row)]
        faults += [f"after {row.name}: {each}" for each in service.faults()]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", ids.FORGED)
def test_a_forged_request_id_is_replaced_and_in_no_line_of_the_log(service: House, name):
    given = ids.FORGED[name]
    for way, (raw, status) in ids.ways(given).items():
        said = service.raw(raw)
        returned = said.headers["x-request-id"]
        assert (way, said.status) == (way, status)
        assert re.fullmatch(r"[0-9a-f]{32}", returned), way
        assert b"forged" not in said.body, way
        if status >= 400:
            assert json.loads(said.body)["request_id"] == returned
        assert service.logged(returned) == [status], way
    assert not list(service.faults())


@pytest.mark.parametrize("name", ids.UNREAD)
def test_a_request_id_that_is_no_header_is_no_request(service: House, name):
    for way, (raw, _) in ids.ways(ids.UNREAD[name]).items():
        said = service.raw(raw)
        assert (way, said.status) == (way, 400)
        assert "forged" not in said.headers["x-request-id"]
    assert not list(service.faults())


@pytest.mark.parametrize("given", ids.KEPT, ids=len)
def test_a_good_request_id_comes_back_and_is_logged(service: House, given):
    statuses = set()
    for way, (raw, status) in ids.ways(given).items():
        said = service.raw(raw)
        assert (way, said.status, said.headers["x-request-id"]) == (way, status, given)
        statuses.add(status)
    assert comes_true(lambda: statuses == set(service.logged(given)))


def test_of_two_request_ids_the_first_counts_on_every_way(service: House):
    for way, (raw, _) in ids.ways("first\r\nx-request-id: second").items():
        assert (way, service.raw(raw).headers["x-request-id"]) == (way, "first")
