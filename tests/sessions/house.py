"""Sessions of small real models in a real store, without HTTP, and steps to take."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from models.repository import Repository
from service.engine.core import Engine, EngineOptions, LoadedModel
from service.sessions.sessions import SessionOptions, Sessions
from service.sessions.sqlite import SqliteStore
from service.sessions.steps import Inputs
from service.sessions.store import Store
from service.sessions.stream import begin
from service.sessions.turns import Forecast
from tests.doubles import VERDICTS
from tests.engine.graphs import Graph, SumGraph, card
from tests.sessions.kept import Clock

SUM, WINDOW = "sum", "window"


@dataclass
class House:
    """What a test may look at."""

    engine: Engine
    store: Store
    sessions: Sessions
    clock: Clock

    async def model(self, name: str) -> LoadedModel:
        return await self.engine.model(name)

    async def open(self, name: str = SUM, tenant: str = "", history: Any = None) -> str:
        model = await self.model(name)
        inputs = None if history is None else Inputs(column(history))
        opened = await self.sessions.open(model, tenant, begin(model.card), inputs)
        return opened.session.record.id

    async def take(self, *steps: "Number", tenant: str = "", model: str | None = None) -> list[Any]:
        return await self.sessions.step(tenant, steps, model)

    async def says(self, session: str, number: int, *values: float) -> dict[str, Any]:
        """Return the answer to one step that must be taken."""
        (told,) = await self.take(Number(session, number, values))
        if isinstance(told, Exception):
            raise told
        answer: dict[str, Any] = orjson.loads(told.body)
        return answer


def column(values: Any) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


@dataclass(frozen=True)
class Number:
    """A step of a model of one feature, answered with the first number of its forecast."""

    session: str
    number: int
    values: tuple[float, ...]

    @property
    def digest(self) -> bytes:
        return repr(self.values).encode()

    def read(self, card, stream) -> Inputs:  # noqa: ARG002  of the protocol
        return Inputs(column(self.values))

    def write(self, forecast: Forecast, model: LoadedModel) -> bytes:  # noqa: ARG002
        stream, answer = forecast
        said = None if answer is None else float(answer.mean[0, 0])
        return orjson.dumps({"step": self.number, "count": stream.count, "said": said})


def publish(folder: Path) -> Repository:
    """Publish one model whose state is a sum, and one that repeats the last value it sees."""
    repository = Repository(folder)
    repository.publish(SUM, SumGraph(card=SumGraph().card.model_copy(update={"name": SUM})).write)
    repository.publish(WINDOW, Graph(card=card(name=WINDOW, min_length=3, max_length=5)).write)
    return repository


@asynccontextmanager
async def living(
    folder: Path, store: Store | None = None, clock: Clock | None = None, **options: Any
) -> AsyncIterator[House]:
    """Yield a house whose models and store lie in a folder; what was there before is kept."""
    models, clock = folder / "models", clock or Clock()
    repository = Repository(models) if models.is_dir() else publish(models)
    store = store or SqliteStore(folder / "sessions.db", clock=clock)
    of_engine = EngineOptions(provider="cpu", threads=1, cache=VERDICTS)
    async with Engine(repository, of_engine) as engine:
        observer = options.pop("observer", None)
        chosen = SessionOptions(**options)
        sessions = Sessions(engine, store, options=chosen, observer=observer, clock=clock)
        try:
            yield House(engine, store, sessions, clock)
        finally:
            await sessions.end()
