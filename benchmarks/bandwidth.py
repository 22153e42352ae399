"""Is the bandwidth that `edgewright board --bandwidth` tells what an independent program measures?

    python benchmarks/bandwidth.py [--mib N] [--rounds N] [--json FILE]

`bandwidth.c` makes the same passes without Python. Both take turns, so that what else happens on the machine meets both: the paired ratio
of a round can be believed where the figures cannot. Debian's `mbw`, where it is installed, copies as a third; it counts a byte once, we
count it twice. Exit code 1 if a kind is further off than 15 %, 3 where there is no C compiler.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgewright.board.bandwidth import BLOCK_S, KINDS, MIB, Arrays, last_level_cache_bytes, suitable_bytes
from edgewright.board.profile import Board, usable_cores
from edgewright.board.sensors import Sensors
from edgewright.stats import Interval, paired_ratio

SOURCE = Path(__file__).with_name("bandwidth.c")
MOST_APART = 0.15
MBW = re.compile(r"AVG\s+Method: MEMCPY.*Copy: ([0-9.]+) MiB/s")


class Independent:
    """bandwidth.c, compiled and running."""

    def __init__(self, folder: Path, arrays: Arrays, threads: int) -> None:
        program = folder / "bandwidth"
        subprocess.run([shutil.which("cc") or "cc", "-O3", "-march=native", "-pthread", SOURCE, "-o", program], check=True)
        sizes = [arrays.words, threads, arrays.positions]
        self._process = subprocess.Popen([program, *map(str, sizes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, kind: str, threads: int, passes: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{kind.partition(' ')[0]} {threads} {passes}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.communicate()


@dataclass
class Turn:
    """A kind with so many threads, and what each side took."""

    kind: str
    threads: int
    passes: int
    counted_bytes: int
    ours_s: list[float] = field(default_factory=list)
    theirs_s: list[float] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        ratio = self.ratio
        return {
            "kind": self.kind,
            "threads": self.threads,
            "ours_gb_per_s": self._rate(self.ours_s),
            "theirs_gb_per_s": self._rate(self.theirs_s),
            "ratio": ratio.to_json(),
        }

    @property
    def ratio(self) -> Interval:
        """How many times the independent program's rate ours is."""
        return paired_ratio([[each] for each in self.theirs_s], [[each] for each in self.ours_s])

    def _rate(self, seconds: Sequence[float]) -> float:
        middle = sorted(seconds)[len(seconds) // 2]
        return round(self.counted_bytes * self.passes / middle / 1e9, 2)


def compare(array_bytes: int, counts: Sequence[int], rounds: int) -> list[Turn]:
    """Both in turn, and each first as often as the other."""
    arrays = Arrays(array_bytes, max(counts))
    with tempfile.TemporaryDirectory() as folder:
        theirs = Independent(Path(folder), arrays, max(counts))
        turns = []
        for count in dict.fromkeys(counts):
            for kind in KINDS:
                passes = max(round(BLOCK_S / arrays.seconds(kind, count)), 1)
                turns.append(Turn(kind, count, passes, arrays.counted_bytes(kind, count)))
                theirs.seconds(kind, count, 1)
        for done in range(rounds):
            for turn in turns:
                asked = (turn.kind, turn.threads, turn.passes)
                if done % 2:
                    turn.theirs_s.append(theirs.seconds(*asked))
                turn.ours_s.append(arrays.seconds(*asked))
                if not done % 2:
                    turn.theirs_s.append(theirs.seconds(*asked))
        theirs.stop()
    return turns


def mbw_gb_per_s(array_bytes: int, runs: int = 7) -> float | None:
    """What Debian's mbw says of memcpy, counted as we count: every byte in and out."""
    program = shutil.which("mbw")
    if program is None:
        return None
    done = subprocess.run([program, "-t0", "-n", str(runs), str(array_bytes // MIB)], capture_output=True, text=True, check=True)
    found = MBW.search(done.stdout)
    return None if found is None else round(float(found[1]) * 2 * MIB / 1e9, 2)


def main() -> int:
    """Compare, tell, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, help="size of an array (default: as `edgewright board --bandwidth` takes it)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if shutil.which("cc") is None:
        print("there is no C compiler; run: sudo apt-get install gcc libc6-dev", file=sys.stderr)
        return 3
    cache_bytes = last_level_cache_bytes()
    with Sensors() as sensors:
        memory = sensors.read().memory
    array_bytes = asked.mib * MIB if asked.mib else suitable_bytes(cache_bytes, memory.available_bytes if memory else None)
    turns = compare(array_bytes, (1, usable_cores()), asked.rounds)
    print(f"arrays of {array_bytes // MIB} MiB, last-level cache {(cache_bytes or 0) // MIB} MiB, {asked.rounds} rounds")
    print(f"{'kind':<12} threads  ours GB/s  C GB/s  ours / C (95 %)")
    for turn in turns:
        row = turn.row()
        print(f"{turn.kind:<12} {turn.threads:>7}  {row['ours_gb_per_s']:>9}  {row['theirs_gb_per_s']:>6}  {turn.ratio}")
    mbw = mbw_gb_per_s(array_bytes)
    print(f"mbw, memcpy, one thread: {'not installed (apt-get install mbw)' if mbw is None else f'{mbw} GB/s'}")
    if asked.json is not None:
        document = {"host": Board.detect().to_json(), "array_bytes": array_bytes, "cache_bytes": cache_bytes, "rounds": asked.rounds}
        asked.json.write_text(json.dumps({**document, "rows": [turn.row() for turn in turns], "mbw_copy_gb_per_s": mbw}, indent=2) + "\n")
    return int(any(abs(turn.ratio.estimate - 1) > MOST_APART for turn in turns))


if __name__ == "__main__":
    sys.exit(main())
