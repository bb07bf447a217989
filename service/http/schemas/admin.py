"""What operators send and are told: which versions shall serve, and which do."""

import os
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from models.serving import MOST, Alias, Serving, Shadow, Target, Version, Weight
from service.engine.core import Engine
from service.http.schemas.document import parse
from service.http.schemas.wire import Out, WireModel, invalid
from service.sessions.shadows import Shadows


class VersionIn(WireModel):
    """A version, or where it is left out the model."""

    version: Version | None = None


class AliasIn(WireModel):
    """Which version an alias stands for."""

    version: Version


class SplitIn(WireModel):
    """The weight of each version or alias; they need not add up to anything."""

    weights: Annotated[dict[Target, Weight], Field(min_length=1, max_length=MOST)]


class ShadowIn(WireModel):
    """Which version is asked too, and for which share of the requests."""

    version: Version | Alias
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


ADMIN: tuple[type[BaseModel], ...] = (VersionIn, AliasIn, SplitIn, ShadowIn, Serving)


class DifferenceOut(Out):
    """By how much a shadow's values differ from those that were answered, in their unit."""

    values: int
    mean_absolute: float
    largest: float


class BesideOut(Out):
    """Mean absolute errors of forecasts of the next step of sessions, over the same steps."""

    steps: float
    shadow: float
    primary: float  # of the version that answered


class ShadowOut(Out):
    """What the shadow of the process that answers has found since it became one."""

    requests: dict[Literal["compared", "dropped", "failed"], int]
    # The version that answered -> the target, or the class -> the difference.
    differences: dict[int, dict[str, DifferenceOut]]
    errors: dict[int, dict[str, BesideOut]]  # where sessions have brought what was forecast


class VersionOut(Out):
    """Where a version stands in the process that answers."""

    version: int
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str


class InForceOut(Out):
    """What the process that answers does; others follow within about a second."""

    process: int
    watching: bool  # whether it takes up changes by itself
    traffic: dict[int, float]  # version -> share of who names none; empty: nobody serves
    aliases: dict[str, int]
    shadow: Shadow | None
    problems: list[str]  # what is asked for and not in force, and why


class ModelState(Out):
    """A model's state: as it is asked for, and as it is."""

    model: str
    desired: Serving
    in_force: InForceOut
    versions: list[VersionOut]
    shadow: ShadowOut | None  # None: no shadow is in force


class ModelStates(Out):
    """All models."""

    models: list[ModelState]


def state(engine: Engine, name: str, shadows: Shadows | None) -> ModelState:
    """Describe a model's state; ``shadows`` are those that follow sessions, if there are any."""
    shelf = engine.shelf(name)
    choices = shelf.traffic.choices if shelf.traffic else []
    shadow = shelf.serving.shadow
    return ModelState(
        model=name,
        desired=shelf.serving,
        in_force=InForceOut(
            process=os.getpid(),
            watching=engine.watching,
            traffic={model.entry.version: round(share, 6) for model, share in choices},
            aliases={alias: model.entry.version for alias, model in shelf.aliases.items()},
            shadow=shadow
            and shelf.shadow
            and Shadow(version=shelf.shadow.entry.version, share=shadow.share),
            problems=shelf.problems,
        ),
        versions=[
            VersionOut(version=each.version, state=each.state, reason=each.reason)
            for each in engine.index(name)
        ],
        shadow=_shadow(engine, name, shadows),
    )


def _shadow(engine: Engine, name: str, shadows: Shadows | None) -> ShadowOut | None:
    mirror = engine.mirror(name)
    if mirror is None:
        return None
    differences = {
        version: {
            target: DifferenceOut(values=each.count, mean_absolute=each.mean, largest=each.largest)
            for target, each in found.items()
        }
        for version, found in mirror.differences.items()
    }
    scored = shadows.of(name) if shadows else {}
    errors = {
        version: {
            target: BesideOut(
                steps=each.steps,
                shadow=each.shadow / each.steps,
                primary=each.primary / each.steps,
            )
            for target, each in found.items()
            if each.steps
        }
        for version, found in scored.items()
    }
    return ShadowOut(requests=mirror.outcomes, differences=differences, errors=errors)


def read_serving(body: bytes) -> Serving:
    """Return the state a body asks for; raise MalformedRequest and InvalidRequest."""
    parse(body)  # which is stricter
    try:
        return Serving.model_validate_json(body, strict=True)
    except ValidationError as exc:
        raise invalid(exc, Serving) from None
