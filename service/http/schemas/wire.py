"""What all documents have in common: those that are sent, with their faults, and those told."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from service.http.errors import InvalidRequest
from service.http.schemas.large import MOST_KEYS  # a fault is told of each: a microsecond, 1 kB
from service.http.schemas.reply import JSON

Wire = TypeVar("Wire", bound=BaseModel)
_UNKNOWN = "extra_forbidden"  # pydantic's word for a field that is not there
_CHOICES = frozenset({"constrained-int", "constrained-str"})  # pydantic's, of what may be either
_OWN_WORDS = _CHOICES | {"[key]"}  # that pydantic puts into places, and no caller wrote
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
_CLOSE = 0.75  # to be taken for another; 1 is the same


class WireModel(BaseModel):
    """What a caller sends: exactly the types and the keys that are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Out(BaseModel):
    """What the service tells."""

    model_config = ConfigDict(frozen=True)


def kind_of(value: object) -> str:
    """Say what a JSON value is, without saying the value."""
    return "null" if value is None else _KINDS.get(type(value), "a number")


def validated(kind: type[Wire], document: object, place: str = "") -> Wire:
    """Return a document as what it claims to be; raise InvalidRequest naming the place."""
    _check_keys(document, place)
    try:
        return kind.model_validate(document)
    except ValidationError as exc:
        raise invalid(exc, kind, place) from None


def _check_keys(document: object, place: str) -> None:
    """Raise InvalidRequest where an object, or one within it, has more keys than any of ours."""
    if not isinstance(document, dict):
        return
    if len(document) > MOST_KEYS:
        raise InvalidRequest(place or "the body", f"expected at most {MOST_KEYS} keys")
    for key, value in document.items():
        if isinstance(value, dict):
            _check_keys(value, f"{place}.{key:.64}" if place else f"{key:.64}")


def invalid(exc: ValidationError, kind: type[BaseModel], place: str = "") -> InvalidRequest:
    """Return the first fault of a document; where a field is missing, what stands in its place."""
    faults = exc.errors(include_url=False, include_input=False, include_context=False)
    first = faults[0]
    if first["type"] == "missing":
        first = next((each for each in faults if _misspells(each, first)), first)
    elif first["loc"] and first["loc"][-1] in _CHOICES:  # of several types: the one that came
        first = next((each for each in faults if _is_choice(each, first)), first)
    loc = [part for part in first["loc"] if part not in _OWN_WORDS]
    *holder, last = loc or ("",)
    for part in loc:
        step = f"[{part}]" if isinstance(part, int) else f"{part:.64}"
        place += step if isinstance(part, int) or not place else f".{step}"
    if first["type"] == "model_type":  # pydantic would name our class
        return InvalidRequest(place or "the body", "expected an object")
    if first["type"] == _UNKNOWN:
        return InvalidRequest(place, unknown(str(last), _fields(kind, holder)))
    return InvalidRequest(place, first["msg"].removeprefix("Value error, "))


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that an object has no such field, and which one was probably meant."""
    fields = sorted(known)
    meant = get_close_matches(name[:64], fields, 1, _CLOSE)
    if meant:
        return f"unknown field; expected {meant[0]}"
    return f"unknown field; expected {' or '.join(fields)}" if fields else "unknown field"


def _misspells(fault: ErrorDetails, missing: ErrorDetails) -> bool:
    return fault["type"] == _UNKNOWN and fault["loc"][:-1] == missing["loc"][:-1]


def _is_choice(fault: ErrorDetails, first: ErrorDetails) -> bool:
    return fault["loc"][:-1] == first["loc"][:-1] and not fault["type"].endswith("_type")


def _fields(kind: type[BaseModel], holder: Iterable[int | str]) -> Iterable[str]:
    """Return the fields of an object within a document, none where they cannot be told."""
    for part in holder:
        field = kind.model_fields.get(str(part))
        found = field.annotation if field else None
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            return ()
        kind = found
    return kind.model_fields


def body_of(wire: type[BaseModel], *, required: bool = False) -> dict[str, Any]:
    """Describe to OpenAPI a body that the routes read themselves."""
    schema = {"$ref": f"#/components/schemas/{wire.__name__}"}
    return {"requestBody": {"required": required, "content": {JSON: {"schema": schema}}}}
