"""What no client should send: raw bytes, and what they are told.  One row each, for any route."""

from dataclasses import dataclass

PREDICT = b"/v1/models/co2-gru/predict"
HOST = b"Host: x\r\n"
JSON = b"Content-Type: application/json\r\n"


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes on a new connection, and the status and type of the problem they get."""

    name: str
    raw: bytes
    status: int
    type: str


def request(*headers: bytes, path: bytes = PREDICT, body: bytes = b"", host: bytes = HOST) -> bytes:
    """Return a POST of JSON with these headers, which end in CRLF each, and this body."""
    return b"POST " + path + b" HTTP/1.1\r\n" + host + JSON + b"".join(headers) + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return request(b"Transfer-Encoding: chunked\r\n", body=body)


def ended(*trailers: bytes) -> bytes:
    """Return a chunked POST with these trailers, which end in CRLF each."""
    return chunked(b"2\r\n{}\r\n0\r\n" + b"".join(trailers) + b"\r\n")


_MALFORMED = {
    "garbage": b"\x00\x01\xfe\xffgarbage\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "HTTP/2.0": b"GET /health/live HTTP/2.0\r\nHost: x\r\n\r\n",
    "an unknown method": b"BREW /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tunnel": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tunnel to a path": b"CONNECT /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in the path": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "lines without CR": b"GET /health/live HTTP/1.1\nHost: x\n\n",
    "a header without a name": request(b": x\r\n"),
    "a header without a colon": request(b"Nothing\r\n"),
    "a space before the colon": request(b"Content-Length : 0\r\n"),
    "NUL in a header": request(b"X-A: \x00\r\n"),
    "a folded header": request(b"X-A: b\r\n c\r\n"),
    "a header folded with a tab": request(b"X-A: b\r\n\tc\r\n"),
    "no Host": request(host=b""),
    "two Hosts": request(HOST),
    "a Host that is none": request(host=b"Host: a b\r\n"),
    "a Content-Length of letters": request(b"Content-Length: five\r\n"),
    "no Content-Length in the header": request(b"Content-Length: \r\n"),
    "a negative Content-Length": request(b"Content-Length: -5\r\n"),
    "a signed Content-Length": request(b"Content-Length: +5\r\n", body=b"hello"),
    "a Content-Length without end": request(b"Content-Length: " + b"9" * 30 + b"\r\n"),
    "two Content-Lengths": request(b"Content-Length: 5\r\n" * 2, body=b"hello"),
    "a list of Content-Lengths": request(b"Content-Length: 5, 5\r\n", body=b"hello"),
    "a length and chunks": request(
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", body=b"0\r\n\r\n"
    ),
    "chunks and a length": request(
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", body=b"0\r\n\r\n"
    ),
    "chunks twice": request(b"Transfer-Encoding: chunked\r\n" * 2, body=b"0\r\n\r\n"),
    "an unknown coding": request(b"Transfer-Encoding: xchunked\r\n", body=b"0\r\n\r\n"),
    "chunks that are zipped": request(b"Transfer-Encoding: gzip, chunked\r\n", body=b"0\r\n\r\n"),
    "chunks of HTTP/1.0": chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a chunk of no size": chunked(b"zz\r\n"),
    "a chunk of a negative size": chunked(b"-5\r\nhello\r\n"),
    "a chunk of a size without end": chunked(b"F" * 17 + b"\r\n"),
    "a chunk longer than it says": chunked(b"2\r\nhello\r\n0\r\n\r\n"),
    "65,537 chunks": chunked(b"1\r\n \r\n" * 65_537 + b"0\r\n\r\n"),
    "framing without end": chunked(b"1;" + b"x" * 1_100_000),
    "a trailer without end": chunked(b"0\r\nX-A: " + b"x" * 1_100_000),
}

ROWS = [
    *(Row(name, raw, 400, "malformed-http") for name, raw in _MALFORMED.items()),
    Row("a long URI", request(path=b"/" + b"a" * 8_192), 414, "uri-too-long"),
    Row("a URI without end", b"GET /" + b"a" * 300_000, 414, "uri-too-long"),
    Row("a long header", request(b"X-A: " + b"a" * 33_000 + b"\r\n"), 431, "headers-too-large"),
    Row("long headers", request(*[b"X-A: " + b"a" * 990 + b"\r\n"] * 34), 431, "headers-too-large"),
    Row("a header without end", request(b"X-A: " + b"a" * 300_000), 431, "headers-too-large"),
    Row(
        "101 headers",
        request(*(b"X-%d: 1\r\n" % number for number in range(99))),
        431,
        "headers-too-large",
    ),
    Row("a long trailer", ended(b"X-A: " + b"a" * 33_000 + b"\r\n"), 431, "headers-too-large"),
    Row("long trailers", ended(*[b"X-A: " + b"a" * 990 + b"\r\n"] * 34), 431, "headers-too-large"),
    Row("101 trailers", ended(*[b"X-A: 1\r\n"] * 101), 431, "headers-too-large"),
]
