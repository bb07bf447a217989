"""What one request may ask for, and how long it may take."""

import time
from dataclasses import dataclass, field, replace

from service.http.errors import DeadlineExceeded, MalformedRequest, RequestTimeout
from service.http.request.reading import LARGE, Reading
from service.http.schemas.document import DEEPEST, check_depth, check_elements

TIMEOUT = "x-request-timeout-ms"
SMALL = 2**16  # bytes of a document that says what to do, and holds no numbers
_DIGITS = 9  # of a header's number


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for."""

    max_sequences: int
    max_body_bytes: int
    request_timeout_ms: int
    max_steps: int = 10_000  # of sessions, in one request
    max_elements: int = 1_000_000  # numbers, arrays and objects of one document
    max_depth: int = DEEPEST  # arrays and objects in each other
    reading: Reading = field(default_factory=lambda: Reading(2**27))

    @property
    def plain_bytes(self) -> int:
        """The most bytes of a body that nothing must be asked of before it is read at once."""
        if self.max_depth < DEEPEST:  # which reading it would allow
            return 0
        return min(self.max_body_bytes, self.max_elements, LARGE)

    def of_orders(self) -> "Limits":
        """Return the limits of documents that are small whatever they say."""
        return replace(self, max_body_bytes=min(self.max_body_bytes, SMALL))

    def check(self, text: bytes) -> None:
        """Raise TooManyElements or MalformedRequest for a JSON text that no one should read."""
        if len(text) > self.max_elements:
            check_elements(text, self.max_elements)
        if self.max_depth < DEEPEST:
            check_depth(text, self.max_depth)

    def deadline_ms(self, asked: str | None) -> int:
        """Return the deadline in milliseconds a header asked for; raise MalformedRequest."""
        if asked is None:
            return self.request_timeout_ms
        milliseconds = whole_number(asked)
        if not milliseconds:
            raise MalformedRequest("X-Request-Timeout-Ms must be a whole number of at least 1.")
        return min(milliseconds, self.request_timeout_ms)

    def late(self, milliseconds: float, *, whole: bool) -> DeadlineExceeded | RequestTimeout:
        """Return what to say when so much time has passed; ``whole``: the body has come."""
        if whole or milliseconds < self.request_timeout_ms:
            return DeadlineExceeded(milliseconds)
        return RequestTimeout("body", milliseconds / 1000)


def left(seconds: float, began: float) -> float:
    """Return what is left of the time of a request; raise DeadlineExceeded if nothing is."""
    found = seconds - (time.perf_counter() - began)
    if found <= 0:
        raise DeadlineExceeded(seconds * 1000)
    return found


def whole_number(header: str) -> int | None:
    """Return the number that a header says, None unless it is up to nine digits and no more."""
    if header.isascii() and header.isdecimal() and len(header) <= _DIGITS:
        return int(header)
    return None
