"""The OpenAPI document as pages for a browser, which load nothing from anywhere else."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import FileResponse

FILES = Path(str(files("fastapi_offline") / "static"))
SCRIPT, STYLE, REDOC = "swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"
ICON = "favicon.png"

# A page of this origin may administer where there are no keys, so that no other's script may be
# in it.  Both have a script of their own in the text, and redoc one that it makes for a worker.
HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; connect-src 'self'; img-src 'self' blob: data:; worker-src blob:; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


def router(title: str) -> APIRouter:
    """Return the routes of the pages and of what they load; all addresses are relative."""
    routes = APIRouter(include_in_schema=False)
    swagger = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url=f"docs/{SCRIPT}",
        swagger_css_url=f"docs/{STYLE}",
        swagger_favicon_url=f"docs/{ICON}",
    )
    redoc = get_redoc_html(
        openapi_url="openapi.json",
        title=title,
        redoc_js_url=f"docs/{REDOC}",
        redoc_favicon_url=f"docs/{ICON}",
        with_google_fonts=False,
    )
    for page in (swagger, redoc):
        page.headers.update(HEADERS)

    @routes.get("/docs")
    async def docs() -> Response:
        return swagger

    @routes.get("/redoc")
    async def redocs() -> Response:
        return redoc

    for name in (SCRIPT, STYLE, REDOC, ICON):
        routes.add_api_route(f"/docs/{name}", _sender(name))
    return routes


def _sender(name: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return FileResponse(FILES / name, headers={"x-content-type-options": "nosniff"})

    return send
