"""A real browser for the report's test, spoken to over pipes (the DevTools protocol): no port, no driver."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 60.0  # patience for one answer; they take a few milliseconds, the start half a second
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
          "--disable-extensions", "--no-first-run", "--disable-background-networking",
          "--remote-debugging-pipe")


class Browser:
    """One page of a browser."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes, self._number, self._rest = reads, writes, 0, b""
        self._session: dict[str, str] = {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.ask("Page.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and give its result; AssertionError with the browser's words when it refuses."""
        self._number += 1
        question = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._writes, json.dumps(question).encode() + b"\0")
        said = self._until(lambda one: one.get("id") == self._number)
        assert "error" not in said, said
        return dict(said["result"])

    def open(self, page: Path, *, width: int, height: int) -> None:
        """Show a file in a window of this size and wait until it is loaded."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=width < 800)
        self.ask("Page.navigate", url=page.as_uri())
        self._until(lambda one: one.get("method") == "Page.loadEventFired")

    def read(self, expression: str) -> Any:
        """The value of an expression in the page, as JSON has it."""
        said = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def picture(self, file: Path) -> None:
        """Write what the window shows to ``file`` (PNG)."""
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def _until(self, wanted: Any) -> dict[str, Any]:
        end = time.monotonic() + _SECONDS
        while True:
            while b"\0" not in self._rest:
                left = end - time.monotonic()
                assert left > 0 and select.select([self._reads], [], [], left)[0], "the browser says nothing"
                piece = os.read(self._reads, 1 << 16)
                assert piece, "the browser has ended"
                self._rest += piece
            message, _zero, self._rest = self._rest.partition(b"\0")
            said = dict(json.loads(message))
            if wanted(said):
                return said


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser of the test's own; it is gone afterwards. ``folder`` is for what it keeps."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    assert program, f"none of {', '.join(_NAMES)} is here; install with: sudo apt-get install chromium"
    reads, its_writes = os.pipe()
    its_reads, writes = os.pipe()
    # The browser reads at descriptor 3 and writes at 4; a shell moves ours there.
    script = f'exec "$0" "$@" 3<&{its_reads} 4>&{its_writes}'
    process = subprocess.Popen(
        ["/bin/bash", "-c", script, program, *_FLAGS, f"--user-data-dir={folder}"],
        pass_fds=(its_reads, its_writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    os.close(its_reads)
    os.close(its_writes)
    try:
        yield Browser(reads, writes)
    finally:
        os.close(writes)  # at the end of its input the browser ends
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(reads)
