"""Who may ask the watcher's server, and what it answers: over a real socket."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import closing as until_closed
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Final

import pytest

from consumers.watch.feed import Feed
from consumers.watch.guard import is_loopback
from consumers.watch.run import WatchSettings, announce
from consumers.watch.web import Told
from edgewise.clock import SECOND_NS, ManualClock, SystemClock
from edgewise.errors import ConfigError
from edgewise.messages import Tier
from tests.watching import RUN, START_NS, entry, feed, frame, plan, result, served

TOKEN: Final = "0123456789abcdef-&?"  # noqa: S105 - of no use elsewhere
PATHS: Final = (
    "/",
    "/page.css",
    "/page.js",
    "/charts.js",
    "/map.js",
    "/wall.js",
    "/dom.js",
    "/wall",
    "/events",
    "/report",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    runs = tmp_path_factory.mktemp("runs")
    (runs / RUN).mkdir()
    made = feed(SystemClock(), runs=runs)
    made.add([frame("camera-0", 3), result("camera-0", 3, Tier.GATEWAY)])
    return made


@pytest.fixture(scope="module")
def local(source: Feed) -> Iterator[int]:
    with served(source) as port:
        yield port


@pytest.fixture(scope="module")
def guarded(source: Feed) -> Iterator[int]:
    with served(source, token=TOKEN) as port:
        yield port


def asked(port: int, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> HTTPResponse:
    """Ask; a stream is read as far as its first look."""
    with until_closed(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        answer.body = b"" if answer.getheader("content-type", "").startswith("text/event") else answer.read()  # type: ignore[attr-defined]
        return answer


def body(answer: HTTPResponse) -> bytes:
    found: bytes = answer.body  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_every_answer_tells_the_browser_what_to_refuse(local: int, path: str) -> None:
    answer = asked(local, path)
    policy = answer.getheader("content-security-policy", "")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.getheader("x-content-type-options") == "nosniff"
    assert answer.getheader("referrer-policy") == "no-referrer"
    assert answer.getheader("cache-control") == "no-store"


def test_what_is_not_there_is_not_found(local: int) -> None:
    assert [asked(local, path).status for path in ("/nothing", "/../run.py", "/page/page.html", "/report")] == [404] * 4
    assert asked(local, "/", method="POST").status == 405


@pytest.mark.parametrize("query", ["order=age", "first=-1", "count=x", "count=101", "first=&count=9"])
def test_a_wall_that_cannot_be_is_refused(local: int, query: str) -> None:
    assert asked(local, f"/wall?{query}").status == 400


def test_a_tile_has_its_picture_and_answers(local: int) -> None:
    (tile,) = json.loads(body(asked(local, "/wall?order=name&first=0&count=9")))
    picture = tile["picture"]
    assert (tile["camera"], tile["number"], picture["width"], picture["height"]) == ("camera-0", 3, 32, 32)
    assert base64.b64decode(picture["rgb"]) == bytes([3]) * 3072
    assert tile["answers"][0]["label"] == "cat"
    assert json.loads(body(asked(local, "/wall?first=9"))) == []


def test_looks_come_as_events_again_and_again(local: int) -> None:
    with until_closed(HTTPConnection("127.0.0.1", local, timeout=20)) as connection:
        connection.request("GET", "/events")
        stream = connection.getresponse()
        lines = [stream.readline() for _ in range(6)]
    assert lines[0] == b"retry: 1000\n"
    first, second = (json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: "))
    assert (first["run"], first["stages"][3]["frames"]) == (RUN, 1)
    assert second["watched_s"] > first["watched_s"]
    assert (first["whole"], first["names"], second["whole"], second["names"]) == (True, ["camera-0"], False, None)


def test_who_listens_is_told_points_and_names_once() -> None:
    clock = ManualClock(start_ns=START_NS)
    source = feed(clock, records=[frame("camera-0", 0)])

    def news(before: Told | None) -> tuple[Told, dict[str, Any]]:
        told = Told(source.look())
        return told, json.loads(told.event(before).removeprefix(b"data: "))

    for _ in range(5):
        clock.advance(by_ns=SECOND_NS)
        source.end_second(passed=0)
    told, first = news(None)
    assert ([point["at_s"] for point in first["points"]], first["whole"]) == ([1, 2, 3, 4, 5], True)
    clock.advance(by_ns=SECOND_NS)
    source.add([frame("camera-1", 0)])
    source.end_second(passed=0)
    told, second = news(told)
    assert ([point["at_s"] for point in second["points"]], second["names"]) == ([6], ["camera-0", "camera-1"])
    told, third = news(told)
    assert (third["points"], third["names"], third["whole"]) == ([], None, False)
    # Another run's seconds are its own.
    source.add_plans([entry(plan(run="newer", start_ns=START_NS + SECOND_NS))])
    clock.advance(by_ns=SECOND_NS)
    source.end_second(passed=0)
    _, fourth = news(told)
    assert (fourth["run"], [point["at_s"] for point in fourth["points"]], fourth["whole"]) == ("newer", [1], True)
    assert fourth["names"] == []


def test_another_site_s_name_for_this_machine_is_turned_away(local: int) -> None:
    for name, status in (
        ("localhost:1", 200),
        ("[::1]:1", 200),
        ("127.9.9.9:1", 200),  # what --host may be without a token
        ("evil.example:80", 421),
        ("localhost.evil.example", 421),
    ):
        assert asked(local, "/wall", {"Host": name}).status == status, name


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_nothing_is_told(guarded: int, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}x"}, {"Cookie": "a;;=é"}):
        answer = asked(guarded, path, headers)
        assert answer.status == 401
        assert b"camera" not in body(answer)
    assert asked(guarded, f"{path}?token=").status == asked(guarded, f"{path}?token=x").status == 401


def test_the_token_is_shown_once_and_kept_where_no_script_reads_it(guarded: int) -> None:
    shown = asked(guarded, "/?token=0123456789abcdef-%26%3F")
    assert (shown.status, shown.getheader("location")) == (303, "/")
    cookie = shown.getheader("set-cookie", "")
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert asked(guarded, "/wall", {"Cookie": cookie.partition(";")[0]}).status == 200
    assert asked(guarded, "/wall", {"Authorization": f"Bearer {TOKEN}"}).status == 200


def test_the_report_is_served_when_it_is_there(source: Feed, local: int) -> None:
    folder = source.folder()
    assert folder is not None
    (folder / "report.html").write_text("<p>all is well")
    answer = asked(local, "/report")
    assert (answer.status, body(answer)) == (200, b"<p>all is well")
    assert "script" not in answer.getheader("content-security-policy", "")
    (folder / "report.html").unlink()


def test_the_address_with_the_token_is_printed_whole_and_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    announce(WatchSettings(kafka="", web=True, host="::", token=TOKEN), 8321)
    told = capsys.readouterr()
    assert told.out == "http://[::]:8321/?token=0123456789abcdef-%26%3F\n"
    assert told.err == "watch: http://[::]:8321/\n"
    announce(WatchSettings(kafka="", web=True), 8321)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "watch: http://127.0.0.1:8321/\n")


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "camera-host"])  # noqa: S104 - refused
def test_a_network_sees_nothing_without_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="give --token-file with it"):
        WatchSettings(kafka="localhost:9092", web=True, host=host)
    assert WatchSettings(kafka="localhost:9092", web=True, host=host, token=TOKEN).token == TOKEN


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigError, match="--token-file has 5 characters, and needs 16 or more"):
        WatchSettings(kafka="localhost:9092", web=True, token="short")  # noqa: S106 - too short for any


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_the_loopback_is_known(host: str) -> None:
    assert is_loopback(host)
