"""What all documents have in common: those that are sent, with their faults, and those told."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from service.http.errors import InvalidRequest

Wire = TypeVar("Wire", bound=BaseModel)
MOST_KEYS = 64  # of an object; a fault is looked for in each


class WireModel(BaseModel):
    """What a caller sends: exactly the types and the keys that are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Out(BaseModel):
    """What the service tells."""

    model_config = ConfigDict(frozen=True)


def validated(kind: type[Wire], document: object, place: str = "") -> Wire:
    """Return a document as what it claims to be; raise InvalidRequest naming the place."""
    if isinstance(document, dict) and len(document) > MOST_KEYS:
        raise InvalidRequest(place or "the body", f"expected at most {MOST_KEYS} keys")
    try:
        return kind.model_validate(document)
    except ValidationError as exc:
        raise _invalid(exc, place) from None


def _invalid(exc: ValidationError, place: str) -> InvalidRequest:
    first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    for part in first["loc"]:
        step = f"[{part}]" if isinstance(part, int) else f"{part:.64}"
        place += step if isinstance(part, int) or not place else f".{step}"
    if first["type"] == "model_type":  # pydantic would name our class
        return InvalidRequest(place or "the body", "expected an object")
    return InvalidRequest(place, first["msg"])


def body_of(wire: type[BaseModel], *, required: bool = False) -> dict[str, Any]:
    """Describe to OpenAPI a body that the routes read themselves."""
    schema = {"$ref": f"#/components/schemas/{wire.__name__}"}
    return {
        "requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}
    }
