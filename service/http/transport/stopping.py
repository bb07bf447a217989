"""Whether this process is on its way out: readiness says so, and answers close connections."""

from service.engine.core import Engine

STOPPING = "stopping"  # where the lifespan's state holds it


class Stopping:
    """
    What the server tells the application about its end.

    Between ``begin`` and the closing of the port the process serves as before, so that a load
    balancer has time to look elsewhere.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.begun = False

    def begin(self) -> None:
        """Be no longer ready, and close each connection with its next answer."""
        self.begun = True
        self._engine.leave()
