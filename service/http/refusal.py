"""A problem as the bytes of a whole answer, for where no request is left to answer by the rules."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.errors import answer


def refusal(error: Exception) -> bytes:
    """Return the answer to an error of the table; it closes the connection."""
    response = answer(error, None)
    headers = dict(response.headers) | {"connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[response.status_code] + f"{lines}\r\n".encode() + bytes(response.body)
