"""Numbers too small to matter, which a CPU is slow with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed() -> Iterator[None]:
    """
    Let this thread take what is below 1.2e-38 for 0, where the processor can.

    The gradient of a long row fades into such numbers on its way back, and a product with them
    takes many times as long as one with others.
    """
    before = _flushes()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes() -> bool:
    return bool((torch.tensor(1e-38) * 0.1 == 0).item())
