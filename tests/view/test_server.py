import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foveate.errors import FoveateError
from foveate.view.content import Content
from foveate.view.server import PAGE, Server

# of build/openseadragon/openseadragon.min.js in the npm package openseadragon 6.1.1
OPENSEADRAGON_SHA256 = "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad"

# a shell's background job is deaf to SIGINT, and so are its children
COMMAND = """
import signal, sys
from foveate.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def server(run: Any, serving: Callable[[Path], Server]) -> Server:
    return serving(run.results)


def ask(
    server: Server, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Ask for a path exactly as it is written. Returns status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    if host != "":
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    reply = connection.getresponse()
    found = reply.status, reply.headers, reply.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/?x=1", "text/html; charset=utf-8"),
        ("/view.css", "text/css; charset=utf-8"),
        ("/palette.css", "text/css; charset=utf-8"),
        ("/view.js", "text/javascript; charset=utf-8"),
        ("/openseadragon.min.js", "text/javascript; charset=utf-8"),
        ("/openseadragon.LICENSE.txt", "text/plain; charset=utf-8"),
        ("/slides.json", "application/json"),
        ("/slides/seen", "application/json"),
        ("/slides/gone", "application/json"),
        ("/tiles/seen/11/0/0", "image/jpeg"),
        ("/glimpses/seen/0/1", "image/png"),
    ],
)
def test_what_there_is(server: Server, path: str, kind: str) -> None:
    status, headers, body = ask(server, path)
    assert (status, headers["Content-Type"]) == (200, kind)
    assert len(body) == int(headers["Content-Length"]) > 0
    status, headers, nothing = ask(server, path, "HEAD")
    assert (status, int(headers["Content-Length"]), nothing) == (200, len(body), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/index.html/",
        "/slides/nobody",
        "/slides/",
        "/slides/seen/",
        "/slides/seen.h5",
        "/tiles/nobody/11/0/0",
        "/tiles/broken/11/0/0",
        "/tiles/seen/11/9/0",
        "/tiles/seen/99/0/0",
        "/tiles/seen/11/0",
        "/tiles/seen/11/0/0/0",
        "/tiles/seen/11/-1/0",
        "/tiles/seen/11/x/0",
        "/tiles/seen/11/%C2%B2/0",
        "/tiles/seen/999999999999999999999/0/0",
        "/glimpses/seen/3/0",
        "/glimpses/seen/0/2",
        "/glimpses/learned/0/0",
        "/../server.py",
        "/page/../../server.py",
        "/..%2fserver.py",
        "/%2e%2e/server.py",
        "/../../../../../../../../etc/passwd",
        "/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "//etc/passwd",
        "//[",
        "http://127.0.0.1/slides.json",
        "/slides/..%2f..%2fetc%2fpasswd",
        "/slides/../seen",
        "/slides/%00",
        "/tiles/..%2fseen/11/0/0",
        "/glimpses/..%2f..%2foverview%2fseen/0/0",
    ],
)
def test_what_there_is_not(server: Server, path: str) -> None:
    status, headers, body = ask(server, path)
    assert (status, headers["Content-Type"], body) == (404, "text/plain; charset=utf-8", b"not found\n")


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "evil.example:80", "[", "[::2]", "127.0.0.2"]
)
@pytest.mark.parametrize("path", ["/", "/slides.json", "/nothing"])
def test_other_names_than_the_loopback_s_are_refused(server: Server, host: str, path: str) -> None:
    assert ask(server, path, host=host)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9", "LOCALHOST"])  # a tunnel has another port
def test_names_of_the_loopback_are_served(server: Server, host: str) -> None:
    assert ask(server, "/slides.json", host=host)[0] == 200


def test_it_listens_on_the_loopback_only(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", server.server_port))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    assert ask(server, "/", method)[0] == 501


@pytest.mark.parametrize(("path", "method"), [("/", "GET"), ("/nothing", "GET"), ("/", "POST")])
def test_every_answer_protects_the_page(server: Server, path: str, method: str) -> None:
    headers = ask(server, path, method)[1]
    policy = dict(part.split(None, 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Access-Control-Allow-Origin"] is None


def test_a_tile_that_cannot_be_read_is_an_error_with_its_reason(
    own_run: Any, spoil_tile: Any, serving: Callable[[Path], Server], caplog: pytest.LogCaptureFixture
) -> None:
    spoil_tile(own_run.slide, 0, absent=False)
    status, _, body = ask(serving(own_run.results), "/tiles/seen/11/0/0")
    assert (status, body[:22]) == (500, b"seen: cannot read tile")
    assert "seen: cannot read tile" in caplog.text


def test_a_port_that_is_taken_is_named(server: Server, run: Any) -> None:
    with pytest.raises(FoveateError, match=f"port {server.server_port} of 127.0.0.1: Address already in use; choose"):
        Server(Content(run.results), server.server_port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_there_is_not(run: Any, port: int) -> None:
    with pytest.raises(FoveateError, match=f"port {port} of 127.0.0.1: .*choose another"):
        Server(Content(run.results), port)


def test_the_page_names_no_other_host() -> None:
    for path in PAGE.iterdir():
        if not path.name.startswith("openseadragon"):
            assert set(re.findall(r"https?://[^\s\"')]+", path.read_text())) <= {"http://www.w3.org/2000/svg"}


def test_openseadragon_is_as_its_package_has_it() -> None:
    data = (PAGE / "openseadragon.min.js").read_bytes()
    assert data.startswith(b"//! openseadragon 6.1.1\n")
    assert hashlib.sha256(data).hexdigest() == OPENSEADRAGON_SHA256


def test_the_command_opens_a_browser(run: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMAND, "view", str(run.results)]
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}.partial && mv {seen}.partial {seen}\n')
    browser.chmod(0o755)
    environment = os.environ | {"BROWSER": f"{browser} %s"}
    done = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert done.stdout is not None
    address = done.stdout.readline().split()[1]
    end = time.monotonic() + 60
    while not seen.exists() and time.monotonic() < end:
        time.sleep(0.05)
    done.send_signal(signal.SIGINT)
    done.communicate(timeout=60)
    assert seen.read_text().strip() == address


def test_the_command_serves_until_it_is_interrupted(run: Any) -> None:
    command = [sys.executable, "-c", COMMAND, "view", str(run.results), "--no-browser"]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert done.stdout is not None
    said = done.stdout.readline()
    match = re.fullmatch(rf"{run.results}: http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", said)
    assert match
    connection = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=60)
    connection.request("GET", "/slides.json")
    assert len(json.load(connection.getresponse())["slides"]) == 4
    connection.close()
    done.send_signal(signal.SIGINT)
    assert done.communicate(timeout=60)[0] == "\n"
    assert done.returncode == 0
