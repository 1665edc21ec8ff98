"""The viewer's server: on this machine's loopback address only, and read-only.

A page of another site could point a name of its own at 127.0.0.1 and read the slides through the user's browser: so
what does not ask for a name of the loopback address is refused. The content security policy lets the page load nothing
from elsewhere.
"""

import json
import logging
import re
import sys
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from foveate.errors import FoveateError
from foveate.view.content import Content, palette_css

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
NAMES = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.IGNORECASE)  # any port: a tunnel may have another
PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
# of the one inline style that OpenSeadragon adds (no focus ring on touch screens)
OPENSEADRAGON_STYLE = "sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE="
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; img-src 'self' data:; "
    f"style-src 'self' '{OPENSEADRAGON_STYLE}'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # another run's results may be shown at this address next
}
Reply = tuple[int, str, bytes]
NOT_FOUND: Reply = (404, KINDS[".txt"], b"not found\n")


class Server(ThreadingHTTPServer):
    """Serves the results. port: 0 for any that is free. Raises FoveateError if the port cannot be had."""

    daemon_threads = True

    def __init__(self, content: Content, port: int = 0) -> None:
        self.content = content
        # the files of the page by their names: no path is made of what a request asks for
        self.files = {path.name: path for path in PAGE.iterdir() if path.suffix in KINDS}
        try:
            super().__init__((LOOPBACK, port), Handler)
        except (OSError, OverflowError) as error:
            said = getattr(error, "strerror", None) or error
            raise FoveateError(
                f"port {port} of {LOOPBACK}: {said}; choose another, or --port 0 for a free one"
            ) from error

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.exception("a request could not be answered")


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests: GET and HEAD, and no others."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "foveate", ""
    error_message_format, error_content_type = "%(code)d %(message)s\n", KINDS[".txt"]
    timeout = 120

    def do_GET(self) -> None:
        """Answer with the body."""
        self._send(self._reply(), body=True)

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self._send(self._reply(), body=False)

    def end_headers(self) -> None:
        """Every answer has the headers that protect the page, errors as well."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no news."""
        log.debug(format, *args)

    def _send(self, reply: Reply, *, body: bool) -> None:
        status, kind, data = reply
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _reply(self) -> Reply:
        if not NAMES.fullmatch(self.headers.get("Host", "")):
            return 403, KINDS[".txt"], b"this page is served to the machine that it runs on only\n"
        parts = [unquote(part) for part in self.path.partition("?")[0].split("/")[1:]]
        try:
            return self._find(parts) or NOT_FOUND
        except FoveateError as error:
            log.error("%s", error)
            return 500, KINDS[".txt"], f"{error}\n".encode()

    def _find(self, parts: list[str]) -> Reply | None:
        """The answer to a path, its parts unquoted; None where there is nothing."""
        content = self.server.content
        match parts:
            case [""]:
                return _file(self.server.files["index.html"])
            case ["palette.css"]:
                return 200, KINDS[".css"], palette_css().encode()
            case ["slides.json"]:
                return _json(content.listing())
            case [name] if name in self.server.files:
                return _file(self.server.files[name])
            case ["slides", slide]:
                return _json(content.slide(slide))
            case ["tiles", slide, *numbers] if len(numbers) == 3 and all(map(_is_number, numbers)):
                level, column, row = map(int, numbers)
                return _picture("image/jpeg", content.tile(slide, level, column, row))
            case ["glimpses", slide, *numbers] if len(numbers) == 2 and all(map(_is_number, numbers)):
                fixation, scale = map(int, numbers)
                return _picture("image/png", content.glimpse(slide, fixation, scale))
        return None


def serve(results: Path, port: int, *, browser: bool) -> None:
    """Show the results in a folder until the user interrupts. browser: open the page there.

    Raises FoveateError if the folder holds no results, or if the port cannot be had.
    """
    with Server(Content(results), port) as server:
        print(f"{results}: {server.address} (Ctrl-C ends it)", flush=True)
        if browser:  # in a thread: one that runs in the terminal ends when the user has seen enough
            threading.Thread(target=_open, args=(server.address,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def _open(address: str) -> None:
    if not webbrowser.open(address):
        log.warning("no browser was found; open %s", address)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 9


def _file(path: Path) -> Reply:
    return 200, KINDS[path.suffix], path.read_bytes()


def _json(value: dict[str, Any] | None) -> Reply | None:
    if value is None:
        return None
    return 200, "application/json", json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _picture(kind: str, data: bytes | None) -> Reply | None:
    return None if data is None else (200, kind, data)
