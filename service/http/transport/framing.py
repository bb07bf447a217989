"""What a request's head must be before anyone reads it, and why a parser gave up; no I/O."""

import re
from enum import Enum, auto

from httptools import HttpParserCallbackError, HttpParserError

from service.http.errors import HeadersTooLarge, MalformedHttp, RequestError, UriTooLong
from service.http.transport.answers import Headers, lines
from service.http.transport.connections import Bounds

# Answered beyond the last connection, too.
HEALTH = re.compile(rb"(/v2)?/health/(live|ready)")
_UNREADABLE = "The request is not HTTP/1.1."
_PATH = re.compile(rb"/|\*$|https?://[^/?#]+/", re.IGNORECASE)
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_OF_UPGRADES = frozenset({b"upgrade", b"connection", b"http2-settings"})
_AROUND = 4  # bytes of a header that are neither name nor value


class Stage(Enum):
    """What has come of a request."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    WHOLE = auto()


def inspect(version: str, url: bytes, headers: Headers, bounds: Bounds) -> None:
    """Raise MalformedHttp, UriTooLong or HeadersTooLarge unless a head may be read."""
    if version not in ("1.1", "1.0"):
        raise MalformedHttp("The version must be HTTP/1.1 or HTTP/1.0.")
    measure(len(url), sum(len(name) + len(value) + _AROUND for name, value in headers), bounds)
    if len(headers) > bounds.max_headers:
        raise HeadersTooLarge(f"There may be at most {bounds.max_headers} headers.")
    if not _PATH.match(url):
        raise MalformedHttp("What is asked for must be a path.")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise MalformedHttp(f"There must be one Host header, and there are {len(hosts)}.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise MalformedHttp("The Host header is not a host.")
    coding = next((value for name, value in headers if name == b"transfer-encoding"), None)
    if coding is not None and (version != "1.1" or coding.lower() != b"chunked"):
        raise MalformedHttp("The one Transfer-Encoding is chunked, of HTTP/1.1.")


def measure(uri: int, headers: int, bounds: Bounds) -> None:
    """Raise UriTooLong or HeadersTooLarge if a head, or what has come of it, has too many bytes."""
    if uri > bounds.max_uri_bytes:
        raise UriTooLong(f"The URI may have at most {bounds.max_uri_bytes} bytes.")
    if headers > bounds.max_header_bytes:
        raise HeadersTooLarge(f"The headers may have at most {bounds.max_header_bytes} bytes.")


def without_upgrade(method: bytes, url: bytes, headers: Headers) -> bytes:
    """Return a head as it would have come from a client who asks for no upgrade."""
    kept = lines([each for each in headers if each[0] not in _OF_UPGRADES])
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, url, kept)


def explain(error: HttpParserError) -> RequestError | None:
    """Return why a parser gave up, None if it is a defect of ours."""
    if not isinstance(error, HttpParserCallbackError):
        return MalformedHttp(f"{_UNREADABLE[:-1]}: {error}.")
    cause = error.__context__
    if isinstance(cause, RequestError):
        return cause
    if isinstance(cause, (HttpParserError, UnicodeError)):
        return MalformedHttp(_UNREADABLE)
    return None


class Chunks:
    """The framing of a chunked body: chunks and trailers are counted, and all that is not body."""

    __slots__ = ("_bounds", "_count", "_framing", "_trailers", "_trailing")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._count = self._framing = self._trailers = self._trailing = 0

    def begin(self) -> None:
        """Count one; raise MalformedHttp if there are too many."""
        self._count += 1
        if self._count > self._bounds.max_chunks:
            raise MalformedHttp(f"A body may have at most {self._bounds.max_chunks} chunks.")

    def trailer(self, name: bytes, value: bytes) -> None:
        """Count one; raise HeadersTooLarge for more, or longer ones, than a head may have."""
        self._trailers += 1
        self._trailing += len(name) + len(value) + _AROUND
        if self._trailers > self._bounds.max_headers:
            raise HeadersTooLarge(f"There may be at most {self._bounds.max_headers} trailers.")
        if self._trailing > self._bounds.max_header_bytes:
            most = self._bounds.max_header_bytes
            raise HeadersTooLarge(f"The trailers may have at most {most} bytes.")

    def body(self, size: int) -> None:
        """Hear of bytes that belong to the body."""
        self._framing -= size

    def came(self, size: int) -> None:
        """Hear of bytes that came; raise MalformedHttp if too few of them are the body's."""
        self._framing += size
        most = 16 * self._bounds.max_chunks + self._bounds.max_header_bytes
        if self._framing > most:
            raise MalformedHttp(f"The framing of a body may have at most {most} bytes.")
