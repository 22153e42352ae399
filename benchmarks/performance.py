"""Remake docs/performance.md: each case is measured here, written to benchmarks/results/, and the page is rendered from those files.

    python benchmarks/performance.py                 # everything, about an hour on 2 quiet cores
    python benchmarks/performance.py coco render     # one case, then the page

It needs the test data (EDGEWRIGHT_TEST_DATA, default ../shared/data). `end_to_end` and `peers` need somebody else's programs as well: the
environment that benchmarks/peer_environment.py builds, its Python in EDGEWRIGHT_PEER_PYTHON; without that they are passed over. A result
carries the commit it was measured on.
"""

import argparse
import json
import subprocess
import time
from typing import Any

from cases import CASES, DATA, NEED_PEERS, SCRATCH, has_peers
from edgewright.board.profile import Board
from edgewright.fit.evidence import tool_versions
from page import RESULTS, ROOT, render

# Where things lie on the machine that measured is nobody's business.
PLACES = {SCRATCH.name: "SCRATCH", str(DATA): "DATA", str(ROOT): "EDGEWRIGHT"}


def record(name: str) -> None:
    """Measure a case and write its result."""
    began = time.monotonic()
    result = CASES[name]()
    write_result(name, result, seconds=time.monotonic() - began)


def write_result(name: str, result: dict[str, Any], *, seconds: float) -> None:
    """Write what a case has found, with where and on which commit."""
    document = {
        "case": name,
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "--", "src") else ""),
        "host": Board.detect().to_json(),
        "versions": tool_versions(),
        "seconds": round(seconds),
        "result": result,
    }
    text = json.dumps(document, indent=1)
    for place, called in PLACES.items():
        text = text.replace(place, called)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607


def main() -> None:
    """Measure what was asked for, then render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"{', '.join(CASES)}, render (default: all)")
    wanted = parser.parse_args().cases or [name for name in CASES if has_peers() or name not in NEED_PEERS]
    for name in wanted:
        if name != "render":
            record(name)
    render()


if __name__ == "__main__":
    main()
