"""What every test has: measured costs are kept in a folder of the run's own."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    os.environ["SEQSERVE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
