"""Request ids that are forged, and the ways a request with one may take."""

from tests.corpus.frames import upgrade
from tests.corpus.house import GOOD
from tests.corpus.routes import GRU
from tests.corpus.streams import PATH

FORGED = {  # each holds the word, which no answer and no line may have
    "a line escaped": "forged%0d%0aevent",
    "a line in C": r"forged\r\n\u000a",
    "a tab": "a\tforged",
    "a blank": "a forged",
    "10,000 letters": "forged" + "a" * 9_994,
    "65 letters": "forged" + "a" * 59,
    "JSON": '","event":"forged","x":"',
    "an object": '{"event":"forged"}',
    "a colour of one byte": "\x9b31mforged",
    "half a letter": "forged\xc3",
    "a letter of UTF-8": "forged\xc3\xa9",
    "a line of Unicode": "forged\xe2\x80\xa8",
    "digits of another script": "forged\xd9\xa3",
    "a path": "../forged",
    "a tag": "<script>forged</script>",
    "a format": "%sforged{0}",
    "a lookup": "${jndi:ldap://forged}",
    "a list": "forged,forged",
    "quotes": '"forged"',
}
UNREAD = {
    "a colour": "\x1b[31mforged",
    "a NUL": "forged\0",
    "a line": "a\nforged",
    "a line and a header": "a\r\n forged",
}
KEPT = ("a", "a-b_c.9", "a" * 64)
EVERY = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"


def ways(given: str) -> dict[str, tuple[bytes, int]]:
    """Return requests with an id, and the status that each is answered with."""
    line = f"x-request-id: {given}\r\n"
    post = f"POST /v1/models/{GRU}/predict HTTP/1.1\r\nHost: localhost\r\n{line}"
    json = f"{post}Content-Type: application/json\r\n"
    chunked, sized = "Transfer-Encoding: chunked\r\n", f"Content-Length: {len(GOOD)}\r\n"
    heads = {
        "the short way": (f"{json}{sized}", GOOD, 200),
        "the long way": (f"{json}{chunked}", b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD), 200),
        "refused": (f"{json}Content-Length: 1\r\n", b"{", 400),
        "no route": (f"GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\n{line}", b"", 404),
        "no request": (f"{EVERY}{line}Content-Length: -1\r\n", b"", 400),
    }
    found = {
        name: (f"{head}\r\n".encode("latin-1") + body, status)
        for name, (head, body, status) in heads.items()
    }
    if len(given) < 8_000:  # what websockets reads of a header
        sent = {"x-request-id": given}
        found["a stream"] = upgrade(PATH, sent), 101
        found["no stream"] = upgrade(PATH, sent | {"Sec-WebSocket-Key": "x"}), 400
    return found
