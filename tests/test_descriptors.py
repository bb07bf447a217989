"""A process may have as many files open as the system allows, and holds fewer connections."""

import resource
import subprocess
import sys

from service.descriptors import OURS, affordable

CODE = """
import resource
from service import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 1000))
assert descriptors.affordable(10_000) == 300 - descriptors.OURS
descriptors.raise_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1000, 1000)
assert descriptors.affordable(10_000) == 1000 - descriptors.OURS
assert descriptors.affordable(5) == 5
"""


def test_the_limit_is_raised_and_bounds_the_connections():
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=20)


def test_there_is_room_for_our_own_files():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == resource.RLIM_INFINITY or affordable(10**9) == soft - OURS
