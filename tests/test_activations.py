"""
Whoever publishes or activates a version may be killed: one whole version serves after a restart.

The short form of ``make activations``: each operation at three of the lines that write files.
"""

import pytest

from benchmarks.activating.drill import Drill
from benchmarks.activating.victim import OPERATIONS


@pytest.mark.timeout(240)
async def test_killed_at_any_line_of_publishing_and_activating_one_whole_version_serves(tmp_path):
    kills = 3 * len(OPERATIONS)
    report = await Drill(kills, tmp_path, lambda _: None, writing=True).run()
    assert report.faults == []
    assert report.kills == dict.fromkeys(OPERATIONS, 3)
    assert report.before + report.after == kills
    assert min(report.before, report.after) >= 3
