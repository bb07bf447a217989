"""Names, versions, sessions and step numbers that are not there or cannot be; on any route."""

from collections.abc import Callable

from tests.corpus.routes import CLOSED, GRU, SESSION, TAKEN, Taker
from tests.corpus.rows import INVALID, Row

_UNKNOWN = ("model-not-found", "not-found")
NAMES = {
    "an unknown model": "nobody",
    "a parent folder": "..%2f..%2fetc%2fpasswd",
    "two escaped dots": "%2e%2e%2f",
    "two dots escaped twice": "%252e%252e%252f",
    "300 characters": "a" * 300,
    "as long and wide as a URI may be": "%f0%9f%98%80" * 650,
    "as long as escapes make it": "%01" * 2_650,
    "a NUL": "co2-gru%00",
    "a byte that is no UTF-8": "%ff",
    "a line for the log": '%0d%0a{"event":"forged"}%0d%0a',
    "a colour for the log": "%1b[31mred%1b[0m",
    "a name in capitals": "CO2-GRU",
    "a blank behind": "co2-gru%20",
    "a format": "%25s%25n{0}",
    "a wide dot": "%ef%bc%8e%ef%bc%8e",
}
_VERSIONS = ("0", "-1", "2", "1.0", "+1", "01", "1e0", "9" * 30, "newest", "%d9%a1", "%31%00")
_NUMBERS = ("0", "-1", "01", "1.0", "1e0", "one", str(2**63), "9" * 400, "%d9%a1", "1%00")


def _replaced(old: str, new: str) -> Callable[[Taker], str]:
    return lambda taker: taker.fill(taker.template.replace(old, new))


def _rows() -> list[Row]:
    rows = [
        Row(
            name,
            _good,
            404,
            _UNKNOWN,
            path=_replaced("{name}", value),
            fits=lambda it: "{name}" in it.template and it.method != "WS",
        )
        for name, value in NAMES.items()
    ]
    rows += [
        Row(
            f"version {value}",
            _good,
            404,
            _UNKNOWN,
            path=_replaced("{version}", value),
            fits=lambda it: "{version}" in it.template,
        )
        for value in _VERSIONS
    ]
    rows += [
        Row(
            f"step {value:.40}",
            _good,
            422,
            INVALID,
            path=_replaced("{n}", value),
            says=lambda _: "step",
            fits=lambda it: "{n}" in it.template,
        )
        for value in _NUMBERS
    ]
    rows += [
        Row(f"in the body, {name}", body, 404, _UNKNOWN, fits=_names_model)
        for name, body in {
            "an unknown model": _of_model("nobody"),
            "a parent folder": _of_model("../../etc/passwd"),
            "a model of 100,000 wide letters": _of_model("\U0001f600" * 100_000),
            "a model of a line": _of_model('\\r\\n{\\"event\\":\\"forged\\"}'),
        }.items()
    ]
    return rows + _sessions()


def _of_model(name: str) -> Callable[[Taker], bytes]:
    return lambda taker: taker.body.replace(GRU.encode(), name.encode())


def _names_model(taker: Taker) -> bool:
    return b'"model"' in taker.body


def _sessions() -> list[Row]:
    def of_one(taker: Taker) -> bool:
        return "{id}" in taker.template

    def stepped(taker: Taker) -> bool:
        return "{n}" in taker.template

    missing = {
        "an unknown session": "0" * 24,
        "a session of dots": "..%2f",
        "a session for the log": "%0a%1b[31m",
        "a session of 300 characters": "a" * 300,
    }
    rows = [
        Row(
            name,
            _good,
            404,
            ("session-not-found", "not-found"),
            path=_replaced(SESSION, value),
            fits=stepped,
        )
        for name, value in missing.items()
    ]
    return [
        *rows,
        _stepping("a session that is closed", 410, "session-gone", CLOSED, 1),
        _stepping("an old step", 409, "wrong-step", TAKEN, 1),
        _stepping("a step taken with other values", 422, "other-payload", TAKEN, 2),
        _stepping("two steps ahead", 409, "wrong-step", TAKEN, 4),
        Row("not its tenant", _good, 404, "session-not-found", {"x-tenant": "b"}, fits=stepped),
        Row("a gap", _good, 409, "wrong-step", path=_replaced("{n}", "3"), fits=stepped),
        Row("a state that is none", _good, 422, "not-a-session", fits=_restores),
        Row("a tenant of control", _good, 422, INVALID, {"x-tenant": "a\tb"}, fits=of_one),
    ]


def _stepping(name: str, status: int, kind: str, session: str, number: int) -> Row:
    """Return a row of a step of another session, which its path or its body names."""

    def body(taker: Taker) -> bytes:
        named = taker.body.replace(SESSION.encode(), session.encode())
        return named.replace(b'"step": 1', b'"step": %d' % number)

    def path(taker: Taker) -> str:
        template = taker.template.replace("{n}", str(number))
        return taker.fill(template.replace(SESSION, session))

    def fits(taker: Taker) -> bool:
        return "{n}" in taker.template or SESSION.encode() in taker.body

    return Row(name, body, status, kind, path=path, fits=fits)


def _restores(taker: Taker) -> bool:
    return taker.template.endswith("/state")


def _good(taker: Taker) -> bytes:
    return taker.body


ROWS = _rows()
