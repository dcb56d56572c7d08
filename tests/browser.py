"""A real Chromium without a window, driven through chromedriver by WebDriver's own protocol."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional, Sequence

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how the protocol names a reference to an element
ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"
_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
]
_SECONDS = 60


class Browser:
    """A session. Every method raises RuntimeError with what the browser says of a request that it refuses."""

    def __init__(self, address: str, chromium: str, profile: str) -> None:
        options = {"binary": chromium, "args": [*_OPTIONS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self._address = address
        session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        self._session = f"/session/{session}"

    def _ask(self, method: str, path: str, body: Optional[object] = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_SECONDS) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.loads(error.read())["value"]["message"].partition("\n")[0]) from None

    def _post(self, path: str, **body: object) -> Any:
        return self._ask("POST", self._session + path, body)

    def open(self, page: Path) -> None:
        """Open a page, and wait until all of it is there."""
        self._post("/url", url=page.as_uri())
        self.wait("document.documentElement.dataset.ready === 'true'")

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns, which is the body of a function."""
        return self._post("/execute/sync", script=script, args=arguments)

    def run_later(self, script: str, *arguments: object) -> Any:
        """What a script hands to its last argument, a function."""
        return self._post("/execute/async", script=script, args=arguments)

    def wait(self, condition: str) -> None:
        """Wait until an expression holds."""
        end = time.monotonic() + _SECONDS
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def find(self, selector: str) -> str:
        """The first element that a CSS selector matches."""
        element: str = self._post("/element", using="css selector", value=selector)[ELEMENT]
        return element

    def click(self, selector: str) -> None:
        """Click on an element, as a mouse does."""
        self._post(f"/element/{self.find(selector)}/click")

    def click_at(self, selector: str, x: int, y: int) -> None:
        """Click on a place in an element, from its upper left corner, after it was brought into view."""
        left, top = self.run(
            "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'});"
            "const b = e.getBoundingClientRect(); return [b.left, b.top]",
            selector,
        )
        move = {"type": "pointerMove", "x": round(left) + x, "y": round(top) + y, "duration": 0}
        press = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        self._post("/actions", actions=[{"type": "pointer", "id": "mouse", "actions": [move, *press]}])

    def type(self, selector: str, keys: str) -> None:
        """Type into an element."""
        self._post(f"/element/{self.find(selector)}/value", text=keys)

    def text(self, selector: str) -> str:
        """The text of the first element that matches, as it is shown."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def rows(self, selector: str) -> List[List[str]]:
        """The cells of the body of a table, hidden ones included."""
        found: List[List[str]] = self.run(
            "return [...document.querySelector(arguments[0]).tBodies[0].rows]"
            ".map(row => [...row.cells].map(cell => cell.textContent))",
            selector,
        )
        return found

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Another size of the window, another scheme of colours."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def devtools(self, command: str, parameters: Mapping[str, object]) -> Any:
        """A command of the DevTools protocol."""
        return self._post("/goog/cdp/execute", cmd=command, params=parameters)

    def complaints(self) -> List[str]:
        """What the console has said since the last time: errors, and what the page's policy has refused."""
        return [entry["message"] for entry in self._post("/se/log", type="browser")]

    def requests(self) -> List[str]:
        """The addresses that were asked for since the last time."""
        entries = [json.loads(entry["message"])["message"] for entry in self._post("/se/log", type="performance")]
        return [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]

    def quit(self) -> None:
        """End the browser."""
        self._ask("DELETE", self._session)


@contextlib.contextmanager
def chromium(browser: str, driver: str) -> Iterator[Browser]:
    """A browser that ends with the block, and leaves nothing behind."""
    with contextlib.ExitStack() as stack:
        profile = tempfile.mkdtemp(prefix="iotrace-browser-")
        stack.callback(shutil.rmtree, profile, ignore_errors=True)  # a process of it may still be ending
        command: Sequence[str] = [driver, "--port=0"]
        given = {**os.environ, "TMPDIR": profile}  # where both leave what they do not remove
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=given, text=True, **pipes) as process:
            assert process.stdout is not None
            port = None
            while port is None:
                line = process.stdout.readline()
                assert line, "chromedriver has ended"
                port = re.search(r"started successfully on port (\d+)", line)
            try:
                session = Browser(f"http://127.0.0.1:{port[1]}", browser, profile)
                try:
                    yield session
                finally:
                    session.quit()
            finally:
                process.terminate()
