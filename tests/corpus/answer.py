"""What a row was told, and what is wrong with that."""

import json
import re
from collections.abc import Iterator, Mapping

from tests.corpus.rows import SECRET, Row
from tests.corpus.streams import Handshake, Spoken

_LEAKS = re.compile(rf'Traceback|File \\?"|site-packages|\.py\b|/(work|tmp|home|root)/|{SECRET}')
PROBLEM = "application/problem+json"
MEMBERS = {"type", "title", "status", "detail", "error", "request_id"}


class Answer:
    """What a row was told, over whichever way."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def problem(self) -> dict[str, object]:
        found = json.loads(self.body)
        if self.status == 200 and "answers" in found:  # of many steps, each told for itself
            return found["answers"][0]["problem"]
        return found

    def faults(self, row: Row | Handshake | Spoken, says: str = "") -> Iterator[str]:
        """Yield what is wrong with it, whose detail should begin so."""
        if self.status != row.status and not (self.status == 200 and b'"problem"' in self.body):
            yield f"expected {row.status}, got {self.status} {self.body[:200]!r}"
            return
        problem = self.problem()
        kinds = (row.type,) if isinstance(row.type, str) else row.type
        if problem.get("status") != row.status or not problem.keys() >= MEMBERS:
            yield f"no problem of status {row.status}: {self.body[:200]!r}"
        if problem["type"] not in [f"urn:seqserve:problem:{kind}" for kind in kinds]:
            yield f"expected {kinds}, got {problem['type']}"
        if self.status != row.status:  # the step is named beside the problem
            says = says.partition(".")[2]
        if not str(problem["detail"]).startswith(says):
            yield f"expected {says} in {problem['detail']!r}"
        expected = getattr(row, "answers", "")
        if expected and expected not in self.headers:
            yield f"no header {expected}"
        kind = self.headers.get("content-type", PROBLEM)
        if self.status == row.status and kind != PROBLEM:
            yield f"expected {PROBLEM}, got {kind}"
        if len(self.body) > 4096 or _LEAKS.search(self.body.decode()):
            yield f"says too much: {self.body[:500]!r}"
