"""
No request fails while versions come and go under load.

The short form of ``make reloads``: each kind of reload once, in a service of two workers.
"""

from collections import Counter

import pytest

from benchmarks.reloading.drill import KINDS, Drill, Plan


@pytest.mark.timeout(180)
async def test_no_request_fails_while_versions_come_and_go_under_load(tmp_path):
    report = await Drill(Plan(reloads=len(KINDS)), tmp_path, lambda _: None).run()
    assert report.faults == []
    assert report.reloads == Counter(KINDS)
    assert report.versions.keys() == {1, 2}
    assert report.versions.total() > 100
    assert report.slow > 5
    assert report.steps > 0
