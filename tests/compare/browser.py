"""A headless Chromium, told what to do over its debugging pipe (DevTools protocol, messages that end in a
zero byte)."""
import base64
import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

FLAGS = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
         "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--hide-scrollbars", "--force-color-profile=srgb", "about:blank"]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class BrowserError(Exception):
    """Chromium is not there, does not answer, or says that a command failed."""


class Browser:
    """A context: one page of one browser process. `complaints` collects what its console says, errors and
    warnings."""

    def __init__(self, seconds: float = 120):
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if not program:
            raise BrowserError("chromium is not installed (Debian's package chromium)")
        self._program, self._seconds = program, seconds
        self.complaints: list[str] = []
        self._pending = b""
        self._number = 0
        self._session: str | None = None

    def __enter__(self) -> "Browser":
        self._profile = tempfile.TemporaryDirectory(prefix="generous-browser-", ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()

        def third_and_fourth() -> None:   # the descriptors that Chromium reads and writes
            spare_in, spare_out = os.dup(theirs_in), os.dup(theirs_out)
            while spare_in < 5 or spare_out < 5:
                spare_in, spare_out = os.dup(spare_in), os.dup(spare_out)
            os.dup2(spare_in, 3)
            os.dup2(spare_out, 4)

        self._process = subprocess.Popen(
            [self._program, *FLAGS, f"--user-data-dir={self._profile.name}"], preexec_fn=third_and_fourth,
            close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "HOME": self._profile.name})
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        os.close(self._out)   # the end of the pipe ends the browser
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        self._profile.cleanup()

    def call(self, method: str, **params) -> dict[str, Any]:
        """A command's result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._out, content):]
        while True:
            answer = self._message(method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                return answer["result"]
            self._notice(answer)

    def _message(self, waiting_for: str) -> dict[str, Any]:
        deadline = time.monotonic() + self._seconds
        with selectors.DefaultSelector() as ready:
            ready.register(self._in, selectors.EVENT_READ)
            while b"\0" not in self._pending:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise BrowserError(f"{waiting_for}: no answer after {self._seconds:g} s")
                more = os.read(self._in, 1 << 20)
                if not more:
                    raise BrowserError(f"{waiting_for}: chromium has ended")
                self._pending += more
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)

    def _notice(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(each.get("value", each.get("description")))
                                            for each in params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("text", "an exception"))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if not address.startswith(("data:", "file:", "about:")):
                self.complaints.append(f"it asks the network for {address}")

    def open(self, file: Path, width: int, height: int = 900) -> None:
        """Shows a file in a window of that size and waits until its images are decoded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=False)
        self.call("Page.navigate", url=file.resolve().as_uri())
        self.evaluate("new Promise(done => document.readyState === 'complete' ? done() : "
                      "addEventListener('load', done)).then(() => "
                      "Promise.allSettled([...document.images].map(image => image.decode()))).then(() => "
                      "null)")

    def evaluate(self, script: str) -> Any:
        """The value of a script in the page, of a promise what it becomes."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details.get("text"))
        return result["result"].get("value")

    def picture(self, whole: bool = True) -> bytes:
        """PNG of the whole page, or of its window."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(taken["data"])

    def pdf(self) -> bytes:
        """As printed on A4."""
        printed = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False,
                            preferCSSPageSize=True)
        return base64.b64decode(printed["data"])
