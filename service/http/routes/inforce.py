"""One document that says what is in force; a route asks, and wraps nothing."""

from fastapi import APIRouter

from service.http.schemas.inforce import InForce, ServiceOut


def router(in_force: InForce) -> APIRouter:
    """Return the route that tells what is in force."""
    routes = APIRouter(prefix="/v1", tags=["operations"])

    @routes.get("/service")
    async def service() -> ServiceOut:
        """Say what runs here, where, and within which limits."""
        return in_force.now()

    return routes
