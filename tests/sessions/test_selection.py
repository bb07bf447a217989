import sqlite3

import pytest

from service.sessions.selection import CHUNK, lists, select

pytestmark = pytest.mark.timeout(20)
SIZES = (0, 1, 2, 3, 5, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7)


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE it (id TEXT PRIMARY KEY)")
    connection.executemany("INSERT INTO it VALUES (?)", [(str(i),) for i in range(5 * CHUNK)])
    connection.execute("INSERT INTO it VALUES (NULL)")
    yield connection
    connection.close()


def test_lists_of_any_number_of_ids_make_ten_statements():
    marks = {each.marks for size in range(1, 4 * CHUNK) for each in lists(map(str, range(size)))}
    assert sorted(each.count("?") for each in marks) == [2**i for i in range(10)]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_asked_for_is_found_and_nothing_else(connection, size):
    asked = {str(i) for i in range(size)}
    found = [id_ for (id_,) in select(connection, "SELECT id FROM it WHERE id IN", asked)]
    assert len(found) == size
    assert set(found) == asked
