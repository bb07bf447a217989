"""A Redis server of a test's own, on a socket in its folder: started, killed, started again."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis

PATIENCE = 20  # seconds until a server that starts must answer


class RedisServer:
    def __init__(self, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        # Not pytest's folder: the path of a socket has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        socket = self.folder / "socket"
        self.url = f"unix://{socket}"
        self._command = [program, "--port", "0", "--unixsocket", str(socket)]
        self._command += ["--dir", str(self.folder), "--save", "", "--daemonize", "no", *options]
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        latest = time.monotonic() + PATIENCE
        while True:
            try:
                with self.client() as client:
                    client.ping()
            except redis.ConnectionError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < latest, "the server does not answer"
                time.sleep(0.01)
            else:
                return

    def client(self) -> redis.Redis:
        """Return a connection of the test's own, for what no store does."""
        return redis.Redis.from_url(self.url)

    def signal(self, signal: int) -> None:
        os.kill(self.process.pid, signal)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)
