"""How soon the dashboard of a live service is there, in a real Chromium on the same machine, and what it costs to leave it open.

    python benchmarks/dashboard.py                 # then benchmarks/results/dashboard.json

A service with four cameras that play a clip, and a small detector. Each look is a browser context of its own, without a cache. `painted`:
first contentful paint, from the navigation's start (Paint Timing, w3.org/TR/paint-timing); `figures`: until the first quantile stands on
the page, for which it needs two statuses a second apart. Then processor time of the service and of its front, of a core, without a page,
with one, and with the page's pictures.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import Browser  # noqa: E402
from live_service import LiveService, write_blinking_clip  # noqa: E402
from performance import write_result  # noqa: E402
from tiny_detector import save_tiny_detector  # noqa: E402
from watch import cpu_s  # noqa: E402

CAMERAS = ("belt", "dock", "press-left", "press-right")
SIZES = {"desk, 1440 x 900": (1440, 900), "telephone, 390 x 844": (390, 844)}
LOOKS, OPEN_S = 10, 20.0
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
FIGURES = "document.querySelector(\"[data-figure='p50']\")?.dataset.value && performance.now()"
LOADED = "performance.getEntriesByType('resource').reduce((sum, each) => sum + each.transferSize, 0)"
FILES = "performance.getEntriesByType('resource').filter((each) => each.name.includes('/assets/')).length"


def looked(browser: Browser, url: str, size: tuple[int, int]) -> dict[str, Any]:
    """One page that is opened for the first time."""
    with browser.page(*size, phone=size[0] < 600) as page:
        page.open(url)
        painted_ms, loaded, files = page.wait(PAINTED), page.value(LOADED), page.value(FILES)
        return {"painted_ms": painted_ms, "figures_ms": page.wait(FIGURES), "bytes": loaded, "files": files}


def cost(service: LiveService, seconds: float) -> dict[str, float]:
    """Percent of a core."""
    pids = {"service": service.pid, "front": service.children()["front"][0]}
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    return {name: round(100 * (cpu_s(pid) - before[name]) / seconds, 2) for name, pid in pids.items()}


def measured() -> dict[str, Any]:
    """Everything, with one service."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = write_blinking_clip(folder / "blinking.avi", size=(640, 360), fps=10)
        cameras = {camera: {"source": clip, "live": True, "loop": True} for camera in CAMERAS}
        models = {"tiny": {"artifact": save_tiny_detector(folder / "tiny.onnx"), "threads": 1}}
        with LiveService(folder, models=models, cameras=cameras, http={"port": 0}) as service, Browser() as browser:
            url = service.wait_for("http", "front", "listens at")["data"]["url"] + "/"
            for camera in CAMERAS:
                service.wait_for("camera", camera, "frames come")
            service.wait_for("worker", "tiny", "is loaded")
            time.sleep(15)  # an hour would be drawn as fast: at most 360 points
            found = {"nobody": cost(service, OPEN_S)}
            looks = {name: [looked(browser, url, size) for _ in range(LOOKS)] for name, size in SIZES.items()}
            with browser.page(1440, 900) as page:
                page.open(url)
                page.wait(FIGURES)
                found["page and pictures"] = cost(service, OPEN_S)
            with browser.page(1440, 200) as page:  # no camera in view
                page.open(url)
                page.wait(FIGURES)
                found["page"] = cost(service, OPEN_S)
            version = browser.ask("Browser.getVersion")["product"]
    rows = [
        {
            "size": name,
            "looks": len(each),
            "painted_ms": _spread([look["painted_ms"] for look in each]),
            "figures_ms": _spread([look["figures_ms"] for look in each]),
            "bytes": each[0]["bytes"],
            "files": each[0]["files"],
        }
        for name, each in looks.items()
    ]
    return {"cameras": len(CAMERAS), "browser": version, "rows": rows, "percent": found}


def _spread(values: list[float]) -> dict[str, float]:
    return {"p50": round(statistics.median(values), 1), "max": round(max(values), 1)}


def main() -> None:
    """Measure, and write it down."""
    began_s = time.monotonic()
    result = measured()
    print(json.dumps(result, indent=1))
    write_result("dashboard", result, seconds=time.monotonic() - began_s)


if __name__ == "__main__":
    main()
