"""What every test has: one thread to compute with, and folders of its own run for what is kept."""

import gc
import os

import pytest
from hypothesis import settings

# Several processes test at once, and more serve; each would take as many threads as processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where every example is an export, `make test` draws a few and `make nightly` five times as many.
settings.register_profile("nightly", max_examples=5 * settings.default.max_examples)


@pytest.fixture(scope="session", autouse=True)
def no_certificates(tmp_path_factory):
    """Nothing here speaks TLS, and a client reads the system's certificates for 20 ms."""
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    os.environ["SEQSERVE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def sessions_file(tmp_path_factory):
    os.environ["SEQSERVE_STORE"] = f"sqlite:///{tmp_path_factory.mktemp('sessions')}/sessions.db"


def pytest_collection_modifyitems(items):
    """Begin with the tests that may take longest, lest the last one be waited for alone."""
    items.sort(key=_seconds_allowed, reverse=True)


def _seconds_allowed(item):
    marker = item.get_closest_marker("timeout")
    return max(marker.args[0] if marker else 0, int(item.config.getini("timeout")))


def pytest_collection_finish():
    """Spare the collector what all tests import: it would look at torch again in each of them."""
    gc.set_threshold(50_000, 20, 50)  # as in a service
    gc.collect()
    gc.freeze()
