"""`make demo`: the demo at a terminal. Not a verb of the command: it needs no arguments and serves one purpose.

python -m edgewright.cli.demo
"""

import argparse
import sys
import time
from pathlib import Path

from edgewright.cli.failures import one_sentence
from edgewright.cli.fit import show
from edgewright.cli.output import Terminal, console_for
from edgewright.demo import VIDEO, demo


def main() -> int:
    """Run the demo and show what it found; 0 if the fitted detector may ship."""
    parser = argparse.ArgumentParser(
        description="Fit the built-in detector to drawn circuit boards.", epilog="example: python -m edgewright.cli.demo"
    )
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="where everything goes (default: %(default)s)")
    folder: Path = parser.parse_args().out
    began = time.monotonic()
    with one_sentence(), Terminal(quiet=False) as terminal:
        evidence = demo(folder, terminal)
    console = console_for(quiet=False, json_path=None)
    show(evidence.to_json(), folder / "fitted", console)
    if evidence.ships:
        console.print(f"video:  {folder / VIDEO}")
    console.print(f"done in {time.monotonic() - began:.0f} s")
    return 0 if evidence.ships else 1


if __name__ == "__main__":
    sys.exit(main())
