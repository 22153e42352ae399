"""Is the bandwidth that `edgewright board --bandwidth` tells what an independent program measures?

    python benchmarks/bandwidth.py [--mib N] [--rounds N] [--threads N ...] [--busy] [--record]

`bandwidth.c` makes the same passes without Python. Both take turns, so that what else happens on the machine meets both: the paired ratio
of a round can be believed where the figures cannot. Debian's `mbw`, where it is installed, copies as a third; it counts a byte once, we
count it twice. Exit code 1 if a kind is further off than 15 %, 3 where there is no C compiler.

On a machine that is never quiet, `--busy` judges by processor time, which only one thread at a time has: what takes the processor away is
left out, what shares the memory is not.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgewright.board.bandwidth import BLOCK_S, KINDS, MIB, Arrays, last_level_cache_bytes, suitable_bytes
from edgewright.board.profile import usable_cores
from edgewright.board.sensors import Sensors
from edgewright.stats import Interval, paired_ratio
from performance import write_result

SOURCE = Path(__file__).with_name("bandwidth.c")
MOST_APART = 0.15
WALL, PROCESSOR = 0, 1
MBW = re.compile(r"AVG\s+Method: MEMCPY.*Copy: ([0-9.]+) MiB/s")


class Independent:
    """bandwidth.c, compiled and running."""

    def __init__(self, folder: Path, arrays: Arrays, threads: int) -> None:
        program = folder / "bandwidth"
        subprocess.run([shutil.which("cc") or "cc", "-O3", "-march=native", "-pthread", SOURCE, "-o", program], check=True)
        sizes = [arrays.words, threads, arrays.positions]
        self._process = subprocess.Popen([program, *map(str, sizes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, kind: str, threads: int, passes: int) -> tuple[float, float]:
        """By the clock, and of processor time (0 for several threads)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{kind.partition(' ')[0]} {threads} {passes}\n")
        self._process.stdin.flush()
        wall_s, processor_s = map(float, self._process.stdout.readline().split())
        return wall_s, processor_s

    def stop(self) -> None:
        self._process.communicate()


@dataclass
class Turn:
    """A kind with so many threads, and what each side took: seconds by the clock, and of processor time."""

    kind: str
    threads: int
    passes: int
    counted_bytes: int
    ours: list[tuple[float, float]] = field(default_factory=list)
    theirs: list[tuple[float, float]] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "threads": self.threads,
            "ours_gb_per_s": self._rate(self.ours),
            "theirs_gb_per_s": self._rate(self.theirs),
            "ratio": self.ratio().to_json(),
            "processor_ratio": self.ratio(PROCESSOR).to_json() if self.threads == 1 else None,
        }

    def ratio(self, clock: int = WALL) -> Interval:
        """How many times the independent program's rate ours is."""
        return paired_ratio([[each[clock]] for each in self.theirs], [[each[clock]] for each in self.ours])

    def _rate(self, seconds: Sequence[tuple[float, float]]) -> float:
        return round(self.counted_bytes * self.passes / statistics.median(each[WALL] for each in seconds) / 1e9, 2)


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
                    turn.theirs.append(theirs.seconds(*asked))
                before_s = time.thread_time()
                wall_s = arrays.seconds(*asked)
                turn.ours.append((wall_s, time.thread_time() - before_s))
                if not done % 2:
                    turn.theirs.append(theirs.seconds(*asked))
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
    parser.add_argument("--threads", type=int, nargs="+", default=(1, usable_cores()))
    parser.add_argument("--busy", action="store_true", help="judge by processor time, one thread only")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/bandwidth.json, for docs/performance.md")
    asked = parser.parse_args()
    if shutil.which("cc") is None:
        print("there is no C compiler; run: sudo apt-get install gcc libc6-dev", file=sys.stderr)
        return 3
    began_s, cache_bytes = time.monotonic(), last_level_cache_bytes()
    with Sensors() as sensors:
        memory = sensors.read().memory
    array_bytes = asked.mib * MIB if asked.mib else suitable_bytes(cache_bytes, memory.available_bytes if memory else None)
    turns = compare(array_bytes, asked.threads, asked.rounds)
    print(f"arrays of {array_bytes // MIB} MiB, last-level cache {(cache_bytes or 0) // MIB} MiB, {asked.rounds} rounds")
    print(f"{'kind':<12} threads  ours GB/s  C GB/s  ours / C (95 %)    of processor time")
    for turn in turns:
        row = turn.row()
        rates = f"{row['ours_gb_per_s']:>9}  {row['theirs_gb_per_s']:>6}"
        print(f"{turn.kind:<12} {turn.threads:>7}  {rates}  {turn.ratio()}  {turn.ratio(PROCESSOR) if turn.threads == 1 else ''}")
    mbw = mbw_gb_per_s(array_bytes)
    print(f"mbw, memcpy, one thread: {'not installed (apt-get install mbw)' if mbw is None else f'{mbw} GB/s'}")
    if asked.record:
        found = {"array_bytes": array_bytes, "cache_bytes": cache_bytes, "rounds": asked.rounds, "mbw_copy_gb_per_s": mbw}
        write_result("bandwidth", {**found, "rows": [turn.row() for turn in turns]}, seconds=time.monotonic() - began_s)
    judged = [turn.ratio(PROCESSOR) for turn in turns if turn.threads == 1] if asked.busy else [turn.ratio() for turn in turns]
    return int(any(abs(ratio.estimate - 1) > MOST_APART for ratio in judged))


if __name__ == "__main__":
    sys.exit(main())
