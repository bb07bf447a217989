"""Whether requests are traced: the standard variables of OpenTelemetry decide, and the extra."""

import logging
import os

from service.http.journal.records import Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

log = logging.getLogger(__name__)


def configured() -> Tracing | None:
    """Return what traces requests if there is somewhere to send them, None if not."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    try:
        from service.http.journal.spans import opened  # noqa: PLC0415  the SDK is an extra
    except ImportError:
        log.warning("There are no traces without an extra: pip install 'seqserve[otel]'")
        return None
    return opened()
