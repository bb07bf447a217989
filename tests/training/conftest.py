import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Keep tiny tensors off the thread pool, which crawls on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
