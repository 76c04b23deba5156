"""What every request passes before it is answered: who may ask, and what a browser is told to refuse.

On the loopback anyone on this machine may ask, but only under this machine's own name: a
page from elsewhere whose name was made to lead here is turned away. Any other address
needs the token, once: the browser then keeps it as a cookie that no script can read.
"""

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of the report, whose styles stand in it; it has no script."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
TOKEN: Final = "token"  # noqa: S105 - the name of one


def is_loopback(host: str) -> bool:
    """Say whether only this machine can ask at an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """An application behind the door; ``token`` empty means that only the loopback's names are answered."""

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app, self._token = app, token
        # Cookies are shared by all ports of a host.
        self._cookie = f"edgewise-watch-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or turn away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """Give the answer to who may not ask, or has just shown the token; None for who may."""
        headers = Headers(scope=scope)
        if not self._token:
            name = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
            return None if is_loopback(name.strip("[]")) else PlainTextResponse("ask for localhost\n", 421)
        asked = parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN, [""])[0]
        if self._is_token(headers.get("authorization", "").removeprefix("Bearer ")):
            return None
        if asked and self._is_token(asked):
            shown = RedirectResponse(scope["path"], 303)  # so that it stands in no history and no bookmark
            # Not strict: the redirection of who followed a link in a chat or a mail would come without it.
            shown.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
            return shown
        if self._is_token(self._kept(headers.get("cookie", ""))):
            return None
        return PlainTextResponse("a token is needed: open the address that edgewise watch printed\n", 401)

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._token.encode())

    def _kept(self, cookies: str) -> str:
        try:
            found = SimpleCookie(cookies).get(self._cookie)
        except CookieError:
            return ""
        return found.value if found else ""
