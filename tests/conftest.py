"""What every test has: measured costs and sessions are kept in folders of the run's own."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    os.environ["SEQSERVE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def sessions_file(tmp_path_factory):
    os.environ["SEQSERVE_STORE"] = f"sqlite:///{tmp_path_factory.mktemp('sessions')}/sessions.db"
