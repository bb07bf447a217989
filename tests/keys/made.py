"""Keys of a test's own, made with our own command."""

from pathlib import Path

from click.testing import CliRunner

from service.cli import main


class Keys:
    """A file of keys, and where what they use is kept."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.json"
        self.issued: list[str] = []
        self.environment = {
            "SEQSERVE_KEYS": str(self.path),
            "SEQSERVE_USAGE": str(folder / "usage"),
        }

    def run(self, *words: str, fails: bool = False) -> str:
        """Return what ``seqserve keys`` says."""
        result = CliRunner().invoke(main, ["keys", *words], env=self.environment)
        assert bool(result.exit_code) is fails, result.output
        return result.output.strip()

    def add(self, name: str, *words: str, scopes: str = "predict") -> str:
        """Return the text of a new key."""
        given = [word for scope in scopes.split() for word in ("--scope", scope)]
        self.issued.append(self.run("add", name, *given, *words))
        return self.issued[-1]
