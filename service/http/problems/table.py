"""The table: every error -> its status -> its ``application/problem+json`` (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import orjson
from starlette.responses import Response

from models import serving
from service.engine.errors import (
    EngineStopped,
    InferenceFailed,
    InvalidSequence,
    ModelNotFound,
    ModelUnavailable,
    ModelWithdrawn,
    NonFinitePrediction,
    Overloaded,
)
from service.http.errors import (
    BodyTooLarge,
    ClientGone,
    DeadlineExceeded,
    HeadersTooLarge,
    InvalidRequest,
    MalformedHttp,
    MalformedRequest,
    NotAForecaster,
    NotMeasured,
    OtherWebSocket,
    RequestTimeout,
    TooManyBodies,
    TooManyConnections,
    TooManyElements,
    UnsupportedEncoding,
    UnsupportedMediaType,
    UriTooLong,
    WorkerDied,
)
from service.keys import errors as keys
from service.sessions.errors import (
    ModelChanged,
    NotASession,
    OtherPayload,
    SessionGone,
    SessionNotFound,
    SessionsFull,
    StateUnreadable,
    StepRunning,
    StoreUnavailable,
    Unfit,
    WrongStep,
)

MAX_DETAIL = 1_500  # bytes as JSON, of which a problem has two and stays below 4 kB
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of the table."""

    status: int
    type: str
    title: str
    headers: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""  # what to do about it, after what the error says


_RETRY = {"retry-after": "1"}
_LATER = {"retry-after": "30"}  # idle sessions are let go of about as often
_CLOSE = {"connection": "close"}
_THIRTEEN = {"upgrade": "websocket", "sec-websocket-version": "13"} | _CLOSE
TABLE: Mapping[type[Exception], Problem] = {
    MalformedHttp: Problem(400, "malformed-http", "The request is not HTTP", _CLOSE),
    RequestTimeout: Problem(408, "request-timeout", "The request did not come", _CLOSE),
    UriTooLong: Problem(414, "uri-too-long", "The URI is too long", _CLOSE),
    HeadersTooLarge: Problem(431, "headers-too-large", "The headers are too large", _CLOSE),
    TooManyConnections: Problem(503, "too-many-connections", "No connection is free", _RETRY),
    OtherWebSocket: Problem(426, "websocket-version", "Another WebSocket is expected", _THIRTEEN),
    MalformedRequest: Problem(400, "malformed-request", "The request cannot be read"),
    BodyTooLarge: Problem(413, "body-too-large", "The body is too large", _CLOSE),
    UnsupportedMediaType: Problem(415, "unsupported-media-type", "Unsupported media type"),
    UnsupportedEncoding: Problem(
        415, "unsupported-encoding", "Unsupported encoding", {"accept-encoding": "gzip, deflate"}
    ),
    TooManyElements: Problem(422, "too-many-elements", "The body holds too much"),
    TooManyBodies: Problem(503, "too-many-bodies", "Too much is being received", _RETRY),
    InvalidRequest: Problem(422, "invalid-request", "The request does not fit"),
    InvalidSequence: Problem(422, "invalid-sequence", "A sequence does not fit the model"),
    NonFinitePrediction: Problem(422, "model-non-finite", "The model's answer is not finite"),
    ModelNotFound: Problem(
        404, "model-not-found", "No such model", hint="GET /v1/models lists those there are."
    ),
    ModelWithdrawn: Problem(404, "model-withdrawn", "The model was unloaded"),
    NotAForecaster: Problem(422, "not-a-forecaster", "The model does not forecast"),
    NotMeasured: Problem(404, "not-measured", "No accuracy was measured"),
    ClientGone: Problem(499, "client-gone", "The client closed the connection"),
    InferenceFailed: Problem(500, "model-error", "The model failed"),
    ModelUnavailable: Problem(503, "model-unavailable", "The model is not available", _RETRY),
    serving.ServingChanged: Problem(
        412, "serving-changed", "The state has changed since it was read"
    ),
    serving.ServingUnfit: Problem(409, "serving-unfit", "The state would contradict itself"),
    serving.ServingUnreadable: Problem(409, "serving-unreadable", "The state kept cannot be read"),
    serving.ServingNotKept: Problem(409, "serving-not-kept", "The state cannot be kept"),
    serving.ServingNotKeptNow: Problem(
        503, "serving-not-kept-now", "The state cannot be kept now", _RETRY
    ),
    Overloaded: Problem(503, "overloaded", "The queue is full", _RETRY),
    WorkerDied: Problem(503, "worker-died", "The worker has died", _RETRY),
    EngineStopped: Problem(503, "stopping", "The service is stopping", _RETRY),
    DeadlineExceeded: Problem(503, "deadline-exceeded", "The deadline has passed", _RETRY),
    SessionNotFound: Problem(404, "session-not-found", "No such session"),
    SessionGone: Problem(410, "session-gone", "The session is over"),
    WrongStep: Problem(409, "wrong-step", "Another step is expected"),
    StepRunning: Problem(409, "step-running", "The session is busy", _RETRY),
    ModelChanged: Problem(409, "model-changed", "The session's model has changed"),
    StateUnreadable: Problem(409, "state-unreadable", "The session's state cannot be read"),
    Unfit: Problem(422, "unfit-step", "The step does not fit the session"),
    OtherPayload: Problem(422, "other-payload", "The step was taken with other values"),
    NotASession: Problem(422, "not-a-session", "The state cannot be taken in"),
    SessionsFull: Problem(503, "sessions-full", "There is no room for more", _LATER),
    StoreUnavailable: Problem(503, "store-unavailable", "The store does not answer", _RETRY),
    keys.NoKey: Problem(401, "no-key", "A key is needed"),
    keys.WrongKey: Problem(401, "wrong-key", "The key opens nothing"),
    keys.Forbidden: Problem(403, "forbidden", "The key does not allow this"),
    keys.RateReached: Problem(429, "rate-reached", "The key's rate is reached"),
    keys.QuotaReached: Problem(429, "quota-reached", "The key's quota is used up"),
    keys.UsageUnavailable: Problem(503, "usage-unavailable", "The key's use cannot be counted"),
}
_TENANT_FULL = Problem(429, "too-many-sessions", "The tenant's room is used up", _LATER)


def problem_response(problem: Problem, detail: str, request_id: str | None) -> Response:
    """Write one problem as a response."""
    return _response(problem, _document(problem, detail, request_id))


def answer(exc: Exception, request_id: str | None) -> Response:
    """Write the problem of an error that is in the table."""
    return _response(problem_of(exc), document(exc, request_id))


def document(exc: Exception, request_id: str | None) -> dict[str, object]:
    """Return the problem of an error that is in the table, with what belongs to it alone."""
    problem = problem_of(exc)
    told = _document(problem, f"{exc} {problem.hint}".rstrip(), request_id)
    if isinstance(exc, WrongStep):
        told["expected_step"] = exc.expected
    if "retry-after" in problem.headers:
        told["retry_after"] = int(problem.headers["retry-after"])
    return told


def problem_of(exc: Exception) -> Problem:
    """Return the row of an error that is in the table; some errors bring headers of their own."""
    if isinstance(exc, (UnsupportedMediaType, keys.AccessError)):
        return replace(TABLE[type(exc)], headers=exc.headers)
    if isinstance(exc, SessionsFull) and exc.tenant:
        return _TENANT_FULL
    return TABLE[type(exc)]


def _response(problem: Problem, document: dict[str, object]) -> Response:
    return Response(orjson.dumps(document), problem.status, dict(problem.headers), MEDIA_TYPE)


def _document(problem: Problem, detail: str, request_id: str | None) -> dict[str, object]:
    """Return the members; ``error`` is for the clients of the Open Inference Protocol."""
    detail = _clipped(detail)
    return {
        "type": f"urn:seqserve:problem:{problem.type}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "error": detail,
        "request_id": request_id,
    }


def _clipped(detail: str) -> str:
    """Return the beginning of a detail, in which a caller's own name may be long or wide."""
    detail = detail[:MAX_DETAIL]
    while len(orjson.dumps(detail)) > MAX_DETAIL:
        detail = detail[: len(detail) * 3 // 4]
    return detail


def reason(exc: Exception) -> str:
    """Return the type of the problem of an error that is in the table."""
    return problem_of(exc).type
