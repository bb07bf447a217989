"""How OpenAPI is told what routes answer who is refused."""

from typing import Any

from pydantic import BaseModel

from service.http.problems.table import MEDIA_TYPE


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    request_id: str | None


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {MEDIA_TYPE: {}}}
    for status in (400, 404, 413, 415, 422, 500, 503)
}
