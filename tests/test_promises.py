"""The page of promises names nothing that is not there: every test, every command."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
PAGE = (HOUSE / "docs" / "promises.md").read_text()
TESTS = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FILES = re.compile(r"`((?:tests|benchmarks|service|docs)/[\w/.-]+)`")
COMMANDS = re.compile(r"`make ([a-z-]+)")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!---|what we promise)", line)]


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((HOUSE / path).read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_the_page_promises_something():
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_a_promise_is_shown_by_tests_and_commands_that_are_there(row):
    named, commands = TESTS.findall(row), COMMANDS.findall(row)
    assert named or commands
    for path, name in named:
        assert name in functions_in(path)
    for path in FILES.findall(row):
        assert (HOUSE / path).exists()
    makefile = (HOUSE / "Makefile").read_text()
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
