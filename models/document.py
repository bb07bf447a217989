"""The base of all documents: frozen, and refusing unknown fields."""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError


class Document(BaseModel):
    """A frozen pydantic model without extra fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fault(NamedTuple):
    """What is wrong with a document, and where: the names on the way, empty for all of it."""

    place: str
    words: str


def faults(error: ValidationError) -> list[Fault]:
    """Return what pydantic found, without the values, its links and its word for a check's own."""
    return [
        Fault(
            ".".join(str(part) for part in each["loc"]), each["msg"].removeprefix("Value error, ")
        )
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]
