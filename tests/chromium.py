"""A headless Chromium without a network, driven over its DevTools protocol: what a reader of a page would see."""

import asyncio
import json
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado.websocket import websocket_connect

PROGRAM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0", "about:blank",
)  # fmt: skip
PATIENCE = 60.0  # seconds
READY = "window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents.every(document => document.is_idle)"
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


@contextmanager
def running(profile: Path):
    """Run Chromium with its profile in the folder `profile`, and yield the address of its debugger."""
    command = [PROGRAM, f"--user-data-dir={profile}", *FLAGS]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = next(line for line in process.stderr if line.startswith("DevTools listening on ws://"))
            yield line.removeprefix("DevTools listening on ws://").split("/")[0]
        finally:
            process.kill()


def visit(browser: str, page: Path, script: str, *, width: int = 1200) -> Visit:
    """Open `page` in a new tab of `width` pixels, wait until BokehJS is idle, evaluate the body of an async function.

    `script` may call ``deep(root, selector)``, a querySelectorAll that enters shadow roots, and ``await settled()``.
    """
    ask = urllib.request.Request(f"http://{browser}/json/new?about:blank", method="PUT")
    with urllib.request.urlopen(ask, timeout=PATIENCE) as answer:
        tab = json.load(answer)["webSocketDebuggerUrl"]
    return asyncio.run(asyncio.wait_for(_look(tab, page, script, width), PATIENCE))


async def _look(address: str, page: Path, script: str, width: int) -> Visit:
    socket = await websocket_connect(address, max_message_size=2**26)
    seen, calls = Visit(), iter(range(1, 1_000_000))

    async def call(method: str, **params: Any) -> Any:
        number = next(calls)
        await socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while (message := json.loads(await socket.read_message())).get("id") != number:
            seen.hear(message["method"], message["params"])
        return message["result"]

    async def evaluate(body: str) -> Any:
        expression = f"(async () => {{ {DEEP} {body} }})()"
        answer = await call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    for domain in ("Page", "Runtime", "Log", "Network"):
        await call(f"{domain}.enable")
    await call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
    await call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    await call("Page.navigate", url=page.as_uri())
    await evaluate(f"while (!({READY})) await settled();")
    seen.value = await evaluate(script)
    await socket.write_message(json.dumps({"id": 0, "method": "Page.close"}))
    while await socket.read_message() is not None:
        pass
    return seen
