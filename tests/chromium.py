"""A headless Chromium without a network, driven over its DevTools pipe: what a reader of a page would see."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

PROGRAM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "about:blank",
)  # fmt: skip
READY = """document.readyState === "complete" && window.Bokeh
  && Bokeh.documents.length >= Math.max(1, document.querySelectorAll("[id^=chart-], [id^=table-]").length)
  && Bokeh.documents.every(document => document.is_idle)"""
LOADED = 'document.readyState === "complete"'
DEEP = """
const deep = (root, selector) => [...root.querySelectorAll(selector),
  ...[...root.querySelectorAll("*")].filter(e => e.shadowRoot).flatMap(e => deep(e.shadowRoot, selector))];
const settled = () => new Promise(done => setTimeout(done, 50));
"""


@dataclass
class Visit:
    """What came of a look at a page."""

    value: Any = None
    requests: list[str] = field(default_factory=list)  # addresses, the page's own first
    problems: list[str] = field(default_factory=list)  # console errors and warnings, exceptions, dialogs

    def hear(self, method: str, params: dict[str, Any]) -> None:
        """Take note of an event."""
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
            self.problems.append(str(params["args"]))
        elif method in {"Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"}:
            self.problems.append(str(params))


@dataclass
class Browser:
    """A running Chromium: one JSON object after the other, each ended by a zero byte."""

    commands: IO[bytes]
    answers: IO[bytes]
    calls: int = 0

    def visit(
        self,
        page: Path | str,
        script: str,
        *,
        width: int = 1200,
        dark: bool = False,
        shot: Path | None = None,
        ready: str = READY,
    ) -> Visit:
        """Open `page` in a tab of `width` pixels, wait until it is `ready`, evaluate the body of an async function.

        `script` may call ``deep(root, selector)``, a querySelectorAll that enters shadow roots, and ``settled()``.
        A file is opened without a network, an address with one. After the script a picture of the page goes to `shot`.
        """
        seen = Visit()
        target = self.call(seen, "Target.createTarget", url="about:blank")["targetId"]
        tab = self.call(seen, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(seen, f"{domain}.enable", tab)
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        if isinstance(page, Path):
            self.call(seen, "Network.emulateNetworkConditions", tab, **offline)
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call(seen, "Emulation.setEmulatedMedia", tab, features=theme)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call(seen, "Emulation.setDeviceMetricsOverride", tab, **screen)
        self.call(seen, "Page.navigate", tab, url=page.as_uri() if isinstance(page, Path) else page)
        expression = f"(async () => {{ {DEEP} while (!({ready})) await settled(); {script} }})()"
        wanted = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.call(seen, "Runtime.evaluate", tab, **wanted)
        assert "exceptionDetails" not in answer, answer
        seen.value = answer["result"].get("value")
        if shot:
            height = self.call(seen, "Page.getLayoutMetrics", tab)["cssContentSize"]["height"]
            self.call(seen, "Emulation.setDeviceMetricsOverride", tab, **{**screen, "height": round(height)})
            self.call(seen, "Runtime.evaluate", tab, expression=f"{DEEP} settled()", awaitPromise=True)
            picture = self.call(seen, "Page.captureScreenshot", tab)
            shot.write_bytes(base64.b64decode(picture["data"]))
        self.call(seen, "Target.closeTarget", targetId=target)
        return seen

    def call(self, seen: Visit, method: str, tab: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command, let `seen` hear the events until it is answered, and return the answer."""
        self.calls += 1
        session = {"sessionId": tab} if tab else {}
        self.commands.write(
            json.dumps({"id": self.calls, "method": method, "params": params} | session).encode() + b"\0"
        )
        self.commands.flush()
        while (message := self._message()).get("id") != self.calls:
            seen.hear(message["method"], message["params"])
        assert "error" not in message, f"{method}: {message}"
        return message["result"]

    def _message(self) -> dict[str, Any]:
        content = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "Chromium has gone"
            content += byte
        return json.loads(content)


@contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """Run Chromium with its profile in the folder `profile`; it reads commands from descriptor 3 and answers on 4."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    command = ["bash", "-c", shell, "bash", PROGRAM, f"--user-data-dir={profile}", *FLAGS]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        os.fdopen(ours_out, "wb") as commands,
        os.fdopen(ours_in, "rb") as answers,
        subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), **quiet) as process,
    ):
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(commands, answers)
        finally:
            process.kill()
