"""
Traces: what became of a request, as spans of OpenTelemetry; needs the extra.

A request's span, which goes on from the caller's ``traceparent``, has a ``queue`` and a
``compute`` for each batch it was in.  A ``batch`` is there once however many requests share it: it
belongs to the first of them, links to all, and each ``compute`` links to it; in it is the ``run``
of the model.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from service.engine.loading import ObserverFactory
from service.engine.observer import BatchReport, Observer
from service.http.journal.records import Visit

PATIENCE = 3.0  # seconds for the last spans to be sent when the service stops
_DEFECT = 500


class Spans:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("seqserve", version("seqserve"))
        self._heeded = {name.encode() for name in propagate.get_global_textmap().fields}

    def begin(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Span | None:
        """Return the span of a request that begins; None if it is not sampled."""
        told = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in self._heeded
        }
        parent = propagate.extract(told)
        span = self._tracer.start_span(method, parent, SpanKind.SERVER)
        return span if span.get_span_context().trace_flags.sampled else None

    def end(self, visit: Visit) -> None:
        """End the span of a request that is over."""
        span = visit.origin
        if not isinstance(span, Span):
            return
        known = visit.route != "none"
        span.update_name(f"{visit.method} {visit.route}" if known else visit.method)
        found: dict[str, AttributeValue] = {
            "http.request.method": visit.method,
            "http.response.status_code": visit.status,
            "url.path": visit.path,
            "seqserve.request_id": visit.request_id,
        }
        if known:
            found["http.route"] = visit.route
        if visit.entry is not None:
            found |= _of_model(visit.entry.name, visit.entry.version)
        if visit.caller is not None:
            found["seqserve.caller"] = visit.caller
        if visit.reason is not None:
            found["error.type"] = visit.reason
        span.set_attributes(found)
        if visit.status >= _DEFECT:
            span.set_status(StatusCode.ERROR)
        span.end()

    def beside(self, observers: ObserverFactory) -> ObserverFactory:
        """Return who makes, of each model, an observer that traces and tells the one given."""

        def observer(name: str, version: int) -> Observer:
            return BatchSpans(self._tracer, _of_model(name, version), observers(name, version))

        return observer

    async def close(self) -> None:
        """Send what is left, if it can be sent in time."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def shut() -> None:
            self._provider.shutdown()
            loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=shut, name="spans", daemon=True).start()
        try:
            await asyncio.wait_for(closed.wait(), PATIENCE)
        except TimeoutError:
            return  # nobody may hold up the end of the service


class BatchSpans:
    """Makes the spans of one model's batches, once they have ended: an Observer."""

    def __init__(
        self, tracer: trace.Tracer, model: dict[str, AttributeValue], beside: Observer | None
    ) -> None:
        self._tracer = tracer
        self._model = model
        self._beside = beside

    def on_waiting(self, waiting: int) -> None:
        if self._beside is not None:
            self._beside.on_waiting(waiting)

    def on_batch(self, report: BatchReport) -> None:
        if self._beside is not None:
            self._beside.on_batch(report)
        asked = [(span, began) for span, began in report.origins if isinstance(span, Span)]
        if asked:
            self._trace(asked, report)

    def _trace(self, asked: Sequence[tuple[Span, float]], report: BatchReport) -> None:
        epoch = time.time_ns() - time.perf_counter_ns()

        def at(seconds: float) -> int:
            return epoch + int(seconds * 1e9)

        taken, ended = at(report.taken_at), at(report.started_at + report.seconds)
        computes = []
        for request, began in asked:
            inside = trace.set_span_in_context(request)
            self._tracer.start_span("queue", inside, start_time=at(began)).end(taken)
            computes.append(self._tracer.start_span("compute", inside, start_time=taken))
        batch = self._tracer.start_span(
            "batch",
            trace.set_span_in_context(computes[0]),
            attributes=self._model
            | {
                "seqserve.batch.size": report.size,
                "seqserve.batch.steps": report.steps,
                "seqserve.batch.padded_steps": report.padded_steps,
            },
            links=[Link(request.get_span_context()) for request, _ in asked],
            start_time=taken,
        )
        run = self._tracer.start_span(
            "run", trace.set_span_in_context(batch), start_time=at(report.started_at)
        )
        for span in (run, batch, *computes):
            if report.failed:
                span.set_status(StatusCode.ERROR)
            if span not in {run, batch}:
                span.add_link(batch.get_span_context())
            span.end(ended)


def opened() -> Spans:
    """Return spans that are sent by OTLP over HTTP; the SDK reads its variables itself."""
    found = Resource.create()
    told = {SERVICE_VERSION: version("seqserve")}
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        told[SERVICE_NAME] = "seqserve"
    provider = TracerProvider(resource=found.merge(Resource(told)), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider)


def _of_model(name: str, version: int) -> dict[str, AttributeValue]:
    return {"seqserve.model.name": name, "seqserve.model.version": version}
