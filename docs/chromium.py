"""Headless Chromium over a pipe: enough of its DevTools protocol to open a page, press keys, and take a picture.

https://chromedevtools.github.io/devtools-protocol. A pipe needs no port and no library.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from types import TracebackType
from typing import Any, Self

KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35}


def find() -> str | None:
    """Where a Chromium is, None if there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One page of a Chromium of its own. complaints: the errors on its console, what it
    could not load and what was thrown. requests: the addresses that it asked for.

    Raises TimeoutError where an answer takes longer than `patience` seconds.
    """

    def __init__(self, program: str, size: tuple[int, int] = (1280, 800), patience: float = 60) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._patience = patience
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        self._number, self._unread = 0, b""
        self._pid, self._to, self._from = self._start(program)
        target = self._ask("Target.createTarget", url="about:blank", session=None)["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True, session=None)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **screen)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._to)
        os.close(self._from)
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, address: str) -> None:
        """Go to an address."""
        self._ask("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """The value of an expression in JavaScript; promises are awaited. Raises ValueError if it throws."""
        reply = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise ValueError(f"{expression}: {json.dumps(reply['exceptionDetails'])}")
        return reply["result"].get("value")

    def wait(self, expression: str) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + self._patience
        while time.monotonic() < end:
            try:
                if value := self.value(expression):
                    return value
            except ValueError:  # what it names is not there yet
                pass
            time.sleep(0.05)
        raise TimeoutError(f"{expression} did not become true; the console said {self.complaints}")

    def press(self, key: str) -> None:
        """Press a key: a character, or a name as ArrowRight."""
        code = {"windowsVirtualKeyCode": KEYS[key], "code": key} if key in KEYS else {"text": key}
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, **code)

    def click(self, selector: str) -> None:
        """Click the middle of the first element that fits."""
        box = f"(box => [box.x + box.width / 2, box.y + box.height / 2])(document.querySelector({json.dumps(selector)})"
        x, y = self.value(f"{box}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self) -> bytes:
        """What is in the window, as PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])

    def _start(self, program: str) -> tuple[int, int, int]:
        """Chromium reads its descriptor 3 and writes 4. Returns its process and group, and our two ends."""
        # theirs are moved out of the way, or one could be 3 or 4 itself
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        arguments = [
            program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
            "--no-first-run", f"--user-data-dir={self._profile}",
        ]  # fmt: skip
        silent = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        moves = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in zip((3, 4), high, strict=True)]
        pid = os.posix_spawn(program, arguments, dict(os.environ), file_actions=[silent, *moves], setpgroup=0)
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        return pid, ours_out, ours_in

    def _ask(self, method: str, *, session: str | None = "", **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            reply = self._read()
            if reply.get("id") == self._number:
                if "error" in reply:
                    raise ValueError(f"{method}: {reply['error']['message']}")
                return dict(reply["result"])
            self._note(reply.get("method", ""), reply.get("params", {}))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            if not select.select([self._from], [], [], self._patience)[0]:
                raise TimeoutError(f"no answer from Chromium within {self._patience:g} s")
            data = os.read(self._from, 2**16)
            if not data:
                raise ConnectionError("Chromium ended")
            self._unread += data
        message, _, self._unread = self._unread.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, event: str, facts: dict[str, Any]) -> None:
        if event == "Runtime.consoleAPICalled" and facts["type"] in ("error", "assert"):
            self.complaints.append(" ".join(str(a.get("value", a.get("description"))) for a in facts["args"]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(facts["exceptionDetails"]))
        elif event == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.complaints.append(f"{facts['entry']['text']} {facts['entry'].get('url', '')}")
        elif event == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
