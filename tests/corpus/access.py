"""Keys that are none, or do not open what is asked, or are used up; on any route with a body."""

import json
from datetime import UTC, datetime, timedelta

from service.http.access.scopes import needs
from tests.corpus.routes import Taker
from tests.corpus.rows import SECRET, Row
from tests.keys.made import Keys

SCOPES = ("predict", "sessions", "metrics", "admin")
_CHALLENGE, _LATER = "www-authenticate", "retry-after"


def all_scopes(keys: Keys, name: str, *words: str) -> str:
    """Return the text of a new key that opens everything."""
    return keys.add(name, *words, scopes=" ".join(SCOPES))


def gone(keys: Keys) -> list[str]:
    """Return the texts of two keys that may ask once: in an hour, and on a day."""
    return [
        all_scopes(keys, "rated", "--rate", "1/h"),
        all_scopes(keys, "quoted", "--quota", "1/day"),
    ]


def rows(keys: Keys, used: list[str]) -> list[Row]:
    """Return the rows; the keys of ``gone`` have been used once."""
    good = keys.issued[0]
    unknown = f"sqs_{'0' * 12}_{'A' * 43}"
    texts = {
        "an unknown key": unknown,
        "another secret": good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        "half a key": good[:30],
        "a key and more": f"{good}A",
        "a text": SECRET,
        "a key of 8,000 letters": "a" * 8_000,
        "a key of no ASCII": "\xff\xfe",
        "a key for the log": '{"event":"forged"}\\u001b[31m',
        "a key that is revoked": _revoked(keys),
        "a key that has expired": _expired(keys),
    }
    headers = {
        "no key": {},
        "another scheme": {"authorization": "Basic c2VjcmV0OnNlY3JldA=="},
        "a key of no scheme": {"authorization": good},
    }
    wrong = {name: {"x-api-key": text} for name, text in texts.items()} | {
        "an empty key": {"x-api-key": ""},
        "two keys": {"x-api-key": good, "authorization": f"Bearer {good}"},
        "a bearer of an unknown key": {"authorization": f"Bearer {unknown}"},
    }
    return [
        *(_row(name, 401, "no-key", sent, _CHALLENGE) for name, sent in headers.items()),
        *(_row(name, 401, "wrong-key", sent, _CHALLENGE) for name, sent in wrong.items()),
        *(_narrow(scope, keys.add(scope, scopes=scope)) for scope in SCOPES),
        _row("the rate gone", 429, "rate-reached", {"authorization": f"Bearer {used[0]}"}, _LATER),
        _row("the quota gone", 429, "quota-reached", {"x-api-key": used[1]}, _LATER),
    ]


def _row(name: str, status: int, kind: str, headers: dict[str, str], answers: str = "") -> Row:
    """Return a row whose body cannot be read: that is not what it is told."""
    return Row(name, lambda _: b"{", status, kind, headers, answers=answers)


def _narrow(scope: str, text: str) -> Row:
    """Return a row of a key that opens other routes."""

    def fits(taker: Taker) -> bool:
        return scope not in _needed(taker)

    return Row(
        f"the scope {scope} alone",
        lambda _: b"{",
        403,
        "forbidden",
        {"x-api-key": text},
        says=lambda it: f"The key needs the scope {' or '.join(sorted(_needed(it)))}.",
        fits=fits,
    )


def _needed(taker: Taker) -> set[str]:
    method = "WEBSOCKET" if taker.method == "WS" else taker.method
    return {scope.value for scope in needs(method, taker.path)}


def _revoked(keys: Keys) -> str:
    text = all_scopes(keys, "revoked")
    keys.run("revoke", "revoked")
    return text


def _expired(keys: Keys) -> str:
    text = all_scopes(keys, "expired", "--days", "1")
    document = json.loads(keys.path.read_text())
    entry = next(each for each in document["keys"] if each["name"] == "expired")
    entry["expires"] = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    keys.path.write_text(json.dumps(document))
    return text
