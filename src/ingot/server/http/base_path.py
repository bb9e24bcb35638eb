"""Path under which a proxy offers the server, such as ``/ingot``."""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def under(base: str, app: ASGIApp) -> ASGIApp:
    """Return ``app`` served under ``base``, for proxies that keep the prefix and that remove it.

    Args:
        base: The prefix, without a slash at its end; empty changes nothing.
        app: The application, which sees paths without the prefix.
    """
    if not base:
        return app

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == base:  # the page's own addresses are relative to a folder
            await RedirectResponse(f"{base}/", 308)(scope, receive, send)
        elif path.startswith(f"{base}/"):
            await app({**scope, "path": path.removeprefix(base)}, receive, send)
        else:
            await app(scope, receive, send)

    return answer
