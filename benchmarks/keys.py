"""
What a key costs a request, decision by decision, in microseconds.

The real gate, alone in a loop, on a file of a hundred keys; a plain prediction pays the first line
or the second, once.
"""

import tempfile
from pathlib import Path

import click

from benchmarks.timing import fastest
from service.http.access.gate import Gate, Headers
from service.http.access.scopes import Rule, rule_of
from service.keys import document
from service.keys.document import Key, Keys, Scope
from service.keys.errors import AccessError
from service.keys.ring import Keyring
from service.keys.secrets import Issued, digest, issue
from service.keys.usage import Usage

METHOD, PATH = "POST", "/v1/models/bench-gru/predict"
MANY = 100
SECONDS = 0.2  # that each decision is timed


@click.command()
def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        gate, free, limited = _gate(Path(folder))
        seen, counted = (gate.find(METHOD, PATH, _headers(key)) for key in (free, limited))
        known, wrong = _headers(free), _headers(free[:-4] + "AAAA")

        def refused() -> None:
            try:
                gate.find(METHOD, PATH, wrong)
            except AccessError:
                return

        def look() -> Rule | None:
            return rule_of(METHOD, PATH)

        parts = {
            "headers seen before, a key without limits": lambda: gate.passes(seen),
            "headers seen before, a rate and a quota": lambda: gate.passes(counted),
            "headers not seen before": lambda: gate.find(METHOD, PATH, known),
            "a wrong key": refused,
            "the table alone": look,
        }
        for name, part in parts.items():
            click.echo(f"{name:<45}{fastest(part, SECONDS) * 1e6:6.2f} us")


def _gate(folder: Path) -> tuple[Gate, str, str]:
    """Return a gate, a key without limits, and one with limits that are never reached."""
    issued = [issue() for _ in range(MANY)]
    limited = Keys(keys=tuple(_key(each, limited=each is issued[1]) for each in issued))
    document.change(folder / "keys.json", lambda _: limited)
    ring = Keyring(folder / "keys.json", Usage.open(folder / "usage"))
    return Gate(ring), issued[0].text, issued[1].text


def _key(issued: Issued, *, limited: bool) -> Key:
    return Key(
        id=issued.id,
        name=f"key-{issued.id}",
        sha256=digest(issued.text.encode()).hex(),
        scopes=(Scope.PREDICT,),
        created=document.now(),
        rate="1000000000/s" if limited else None,
        quota="1000000000/day" if limited else None,
    )


def _headers(key: str) -> Headers:
    return [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode())]


if __name__ == "__main__":
    main()
