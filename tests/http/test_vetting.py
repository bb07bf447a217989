"""The API tells what was found of each version, of those that serve and those that do not."""

from models.repository import Repository
from tests.engine.graphs import Graph
from tests.http.inprocess import SMALL, running


async def test_a_version_shows_its_checks_and_one_refused_its_findings(tmp_path):
    repository = Repository(tmp_path / "models")
    repository.publish("small", Graph().write)
    repository.publish("small", Graph(leak=0.5).write)
    (repository.root / "small" / "3.onnx").hardlink_to(repository.root / "small" / "2.onnx")
    async with running(SMALL.model_copy(update={"models": repository.root})) as service:
        response = await service.client.get("/v1/models/small")
    detail = response.json()
    assert detail["version"] == 1
    (loaded,) = detail["loaded"]
    assert loaded["vetting"]["passed"]
    assert loaded["vetting"]["bytes"] == (repository.root / "small" / "1.onnx").stat().st_size
    assert loaded["vetting"]["memory_bytes"] > 0
    leaky, linked = detail["refused"]["2"], detail["refused"]["3"]
    assert not any(found["passed"] for found in (leaky, linked))
    assert "1 more name on the disk" in linked["findings"][0]
    assert "1 more name on the disk" in leaky["findings"][0]
    assert detail["failures"] == {"2": leaky["findings"][0], "3": linked["findings"][0]}
    assert str(tmp_path) not in response.text
