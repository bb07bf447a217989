"""How the engine runs."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from service.engine.batcher import Slots
from service.engine.cpus import available_cpus
from service.engine.runner import Provider
from service.engine.scheduler import BatchPolicy
from service.engine.vetting.verdict import VettingLimits


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine runs; the defaults suit a container that has the machine to itself."""

    provider: Provider = "auto"
    threads: int | None = None  # runner threads a model; None: the processors allowed
    workers: int = 1  # processes like this one on the same processors
    policy: BatchPolicy = field(default_factory=BatchPolicy)
    inline_seconds: float = 0.010  # a batch as short as that needs no thread of its own
    profile_seconds: float = 0.0  # to measure a model's costs at load; 0: steps are all that costs
    cache: Path | None = None  # where verdicts on files and measured costs are kept
    vetting: VettingLimits = field(default_factory=VettingLimits)
    watch_seconds: float = 1.0  # between two looks at the repository; 0: it is not looked at
    idle_seconds: float = 300.0  # until a version is let go that only its number is asked by

    @property
    def limits(self) -> VettingLimits:
        """What a new file may take, and the largest batch it must run in."""
        policy = self.policy
        return replace(
            self.vetting, batch_size=policy.max_batch_size, batch_steps=policy.max_batch_steps
        )

    @property
    def slots(self) -> Slots:
        """Where batches run on CPU: our share of the processors, and the others for bulk."""
        if self.threads:
            return Slots(self.threads, 0, self.inline_seconds)
        available = available_cpus()
        share = max(1, available // self.workers)
        return Slots(share, max(0, available - share), self.inline_seconds)
