"""What the checks of a model file found, in lines for a terminal."""

from collections.abc import Iterator

from service.engine.selfcheck import SelfCheck
from service.engine.vetting.report import Measured, Report


def describe(report: Report) -> Iterator[str]:
    """Yield the verdict, then what it rests on."""
    verdict = "passed" if report.passed else "refused"
    yield f"{verdict} in {report.seconds:.2f} s"
    if report.sha256:
        yield f"{report.size:,} bytes, sha256 {report.sha256}"
    yield from report.findings
    if report.self_check:
        yield _company(report.self_check)
    if report.measured:
        yield _cost(report.measured)


def _company(found: SelfCheck) -> str:
    if found.bit_for_bit:
        return f"{found.cases} sequences answered in batches as alone, bit for bit"
    return (
        f"{found.cases} sequences answered in batches as alone within "
        f"{found.largest_difference:.1e}, relative (allowed: {found.tolerance:.0e})"
    )


def _cost(measured: Measured) -> str:
    return (
        f"loads in {measured.load_seconds * 1000:.1f} ms; runs one of the longest sequences in "
        f"{measured.run_seconds * 1000:.2f} ms, {measured.batch_size} in "
        f"{measured.batch_seconds * 1000:.2f} ms; takes {measured.memory_bytes / 2**20:.0f} MiB"
    )
