"""
Ten thousand drawn requests, and no answer of 5xx but a 503 that was promised: ``make fuzz``.

schemathesis draws from the service's own OpenAPI document, and holds the answers against it;
hypothesis draws shapes, and steps of a session.  What was answered is then read from the
service's own counters, so that no check can have missed one.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.corpus.house import House, house
from tests.fuzz import shapes, steps

CASES = 10_000
_CONFIG = Path(__file__).with_name("schemathesis.toml")


class Found(AssertionError):
    """Something was answered that must not be; the message is schemathesis's report."""


def by_document(service: House, folder: Path, seconds: int, *options: str) -> None:
    """Let schemathesis draw for so long; raise Found."""
    config = folder / _CONFIG.name
    config.write_text(_CONFIG.read_text().replace("{session}", service.session))
    url = f"{service.served.url}/openapi.json"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", url]
    told = subprocess.run(
        [*command, "--max-time", str(seconds), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds * 3 + 60,
        check=False,
    )
    if told.returncode:
        raise Found(told.stdout[-20_000:] + told.stderr[-2_000:])


def statuses(service: House) -> Counter[int]:
    """Return how often each status was answered since the service began."""
    text = service.client.get("/metrics").text
    found: Counter[int] = Counter()
    for status, number in re.findall(
        r'^seqserve_requests_total\{.*status="(\d+)".*\} (\S+)', text, re.MULTILINE
    ):
        found[int(status)] += int(float(number))
    return found


def bad(found: Counter[int]) -> dict[int, int]:
    """Return the statuses that no input may get."""
    return {status: number for status, number in found.items() if status >= 500 and status != 503}


def main() -> None:
    """Draw from the document for two minutes, then shapes and steps until there are enough."""
    with tempfile.TemporaryDirectory(prefix="seqserve-fuzz-") as name:
        folder = Path(name)
        with house(folder) as service:
            by_document(service, folder, 120)
            shapes.draw(service, 2_000)
            steps.draw(service, 150)
            found = statuses(service)
    told = ", ".join(f"{number} of {status}" for status, number in sorted(found.items()))
    sys.stdout.write(f"{found.total()} answers: {told}\n")
    if bad(found) or found.total() < CASES:
        sys.exit(f"expected {CASES} answers, none of them 5xx but 503")


if __name__ == "__main__":
    main()
