"""The page and what it asks for: one stream of looks for everybody, and a page of the wall for each who sees it."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from consumers.watch import verdict as verdicts
from consumers.watch.feed import Feed
from consumers.watch.guard import REPORT_POLICY, Guard
from consumers.watch.look import Look, Picture, Tile
from consumers.watch.view import NOTES, ORDERS

REFRESH_S: Final = 1.0
AGAIN_MS: Final = 1000
"""How soon a browser asks again when the stream has broken."""
TILES_MOST: Final = 100
"""Of one page of the wall."""
FILES: Final = {"/": ("page.html", "text/html"), "/page.css": ("page.css", "text/css")} | {
    f"/{name}.js": (f"{name}.js", "text/javascript") for name in ("page", "charts", "map", "wall", "dom")
}
WHOLE: Final = re.compile(r"[0-9]{1,6}")
FOLDER: Final = Path(__file__).parent / "page"


class Told:
    """A look in JSON, in pieces: one listener is told what another one knows already."""

    def __init__(self, look: Look) -> None:
        self.run = (look.run, look.began_ns)
        self.names = look.names
        self.points = look.points
        rest = asdict(replace(look, points=(), names=())) | {"notes": NOTES}
        self._rest = _json({name: value for name, value in rest.items() if name not in {"points", "names"}})

    def event(self, before: "Told | None") -> bytes:
        """Write it as a server-sent event to who was told another one before: points and names only if they are new.

        ``whole`` says that the points are all there are, and take the place of what was told of another run.
        """
        whole = before is None or before.run != self.run
        last_s = -1.0 if before is None or whole or not before.points else before.points[-1].at_s
        points = [asdict(point) for point in self.points if point.at_s > last_s]
        names = self.names if whole or before is None or before.names != self.names else None
        news = {"whole": whole, "points": points, "names": names}
        return f"data: {_json(news)[:-1]},{self._rest[1:]}\n\n".encode()


def _json(found: object) -> str:
    return json.dumps(found, separators=(",", ":"))


class Stream:
    """The newest look, made once for all who listen."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._told: Told | None = None
        self._made_at = float("-inf")
        self._turn = asyncio.Lock()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield a look every second, for as long as somebody listens."""
        yield f"retry: {AGAIN_MS}\n\n".encode()
        before: Told | None = None
        while not self._feed.stopped.is_set():
            told = await self._newest()
            yield told.event(before)
            before = told
            await asyncio.sleep(REFRESH_S)

    async def _newest(self) -> Told:
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if self._told is None or now - self._made_at >= REFRESH_S / 2:
                # In a thread: the one that reads may be busy with the same model.
                self._told, self._made_at = await asyncio.to_thread(lambda: Told(self._feed.look())), now
            return self._told


def plain(tile: Tile, picture: Picture | None) -> dict[str, Any]:
    """Give a tile as JSON can carry it."""
    found = {"camera": tile.camera, "number": tile.number, "truth": tile.truth}
    shown = picture and {
        "width": picture.width,
        "height": picture.height,
        "rgb": base64.b64encode(picture.rgb).decode(),
    }
    return found | {"answers": [asdict(answer) for answer in tile.answers], "picture": shown}


def application(feed: Feed, *, token: str, port: int) -> ASGIApp:
    """Make the application."""
    stream = Stream(feed)

    async def file(request: Request) -> Response:
        name, kind = FILES[request.url.path]
        return FileResponse(FOLDER / name, media_type=kind)

    async def events(_: Request) -> Response:
        return StreamingResponse(stream.events(), media_type="text/event-stream")

    async def wall(request: Request) -> Response:
        asked = request.query_params
        order, first, count = asked.get("order", "name"), asked.get("first", "0"), asked.get("count", "48")
        if order not in ORDERS or not (WHOLE.fullmatch(first) and WHOLE.fullmatch(count)) or int(count) > TILES_MOST:
            return PlainTextResponse(f"order is one of {', '.join(ORDERS)}; first and count are numbers\n", 400)
        tiles = await asyncio.to_thread(feed.wall, order=order, first=int(first), count=int(count))
        return JSONResponse([plain(tile, picture) for tile, picture in tiles])

    async def report(_: Request) -> Response:
        folder = await asyncio.to_thread(feed.folder)
        page = None if folder is None else folder / verdicts.PAGE
        if page is None or not page.is_file():
            return PlainTextResponse("this run has no report yet\n", 404)
        return FileResponse(page, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    routes = [Route(path, file) for path in FILES]
    routes += [Route("/events", events), Route("/wall", wall), Route("/report", report)]
    return Guard(Starlette(routes=routes), token=token, port=port)
