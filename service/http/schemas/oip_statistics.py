"""The statistics extension's documents, made from the metrics of all processes."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import Metric
from pydantic import Field

from service.http.meters.batches import FAILED_SEQUENCES, FAILURES, SIZE
from service.http.meters.versions import ANSWERED, FAILED, LAST, REQUESTS, SECONDS
from service.http.schemas.wire import Out

Samples = Mapping[tuple[str, str, str, str], float]


class Duration(Out):
    """How often something was measured, and for how long it went on in all."""

    count: int = 0
    ns: int = 0


class InferenceStatistics(Out):
    """
    Requests by outcome, and where the time of those answered went.

    Of a request of several sequences, queue and compute are those of its slowest one; the parts
    that count nothing are not measured apart.
    """

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration = Duration()
    compute_infer: Duration
    compute_output: Duration = Duration()
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


class ModelStatistics(Out):
    """One version since the service started, in all of its processes."""

    name: str
    version: str
    last_inference: int = Field(description="milliseconds since 1970; 0: never")
    inference_count: int = Field(description="sequences and steps of sessions answered")
    execution_count: int = Field(description="batches run")
    inference_stats: InferenceStatistics
    batch_stats: list[Duration] = Field(default=[], description="not kept by size: empty")


class StatisticsResponse(Out):
    """Each version asked for."""

    model_stats: list[ModelStatistics]


def statistics(
    families: Iterable[Metric], versions: Sequence[tuple[str, int]]
) -> StatisticsResponse:
    """Return the statistics of versions."""
    samples = {
        (
            sample.name,
            sample.labels["model"],
            sample.labels["version"],
            sample.labels.get("outcome", sample.labels.get("part", "")),
        ): sample.value
        for family in families
        for sample in family.samples
        if "version" in sample.labels and "model" in sample.labels
    }
    found = [_version(samples, name, str(version)) for name, version in versions]
    return StatisticsResponse(model_stats=found)


def _version(samples: Samples, name: str, version: str) -> ModelStatistics:
    def read(family: str, which: str = "") -> float:
        return samples.get((family, name, version, which), 0.0)

    def seconds(part: str) -> int:
        return round(read(f"{SECONDS}_total", part) * 1e9)

    answered = round(read(f"{REQUESTS}_total", ANSWERED))
    failed = round(read(f"{REQUESTS}_total", FAILED))
    whole = sum(seconds(part) for part in ("queue", "compute", "rest"))
    return ModelStatistics(
        name=name,
        version=version,
        last_inference=round(read(LAST) * 1e3),
        inference_count=round(read(f"{SIZE}_sum") - read(f"{FAILED_SEQUENCES}_total")),
        execution_count=round(read(f"{SIZE}_count") - read(f"{FAILURES}_total")),
        inference_stats=InferenceStatistics(
            success=Duration(count=answered, ns=whole),
            fail=Duration(count=failed, ns=seconds(FAILED)),
            queue=Duration(count=answered, ns=seconds("queue")),
            compute_infer=Duration(count=answered, ns=seconds("compute")),
        ),
    )
