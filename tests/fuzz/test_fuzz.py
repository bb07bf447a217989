"""The short form of ``make fuzz``."""

from collections.abc import Iterator

import pytest

from tests.corpus.house import House, house
from tests.fuzz import shapes, steps
from tests.fuzz.drawn import bad, by_document, statuses

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("fuzz")) as found:
        yield found
        assert not bad(statuses(found))


def test_what_is_drawn_from_our_document_is_answered_as_it_says(service, tmp_path):
    by_document(service, tmp_path, 8, "--phases", "examples,fuzzing", "--seed", "1")


def test_drawn_shapes_get_an_answer_or_a_problem(service):
    shapes.draw(service, 600)


def test_drawn_steps_leave_a_session_as_the_fold_of_those_that_were_taken(service):
    steps.draw(service, 80)
