"""How fast the memory is: what feeds a detector, more often than arithmetic does.

Read, write and copy in order, and reads all over the place, on arrays several times the last-level cache (as STREAM asks: four times;
cs.virginia.edu/stream), with one thread and with one a core. numpy gives up the interpreter's lock while it works, so threads are enough.

What is counted is what the program asked for, as STREAM counts: a copy moves every byte twice, once in, once out. The bus may move more: to
write a line, most processors first read it (but for copies, which the C library writes past the cache). A random read asks for 8 bytes and
is counted as the line of 64 that it moves.
"""

import re
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.board.kernel_files import KernelFiles, Look
from edgewright.errors import HostError
from edgewright.progress import Progress, unseen

MIB = 1 << 20
KINDS = ("read", "write", "copy", "random read")
CACHES = 4  # arrays hold as many last-level caches
SMALLEST_BYTES = 64 * MIB
LARGEST_BYTES = 4096 * MIB
USABLE = 1 / 8  # of the available memory, an array: two of them and the positions leave more than half
FEWEST_BYTES = 8 * MIB  # below it nothing is measured but the cache
ROUNDS = 7
BLOCK_S = 0.06  # the time a turn takes at least
MOST_PASSES = 256
LINE_BYTES = 64
MOST_POSITIONS = 1 << 21  # of random reads, for each thread: 16 MiB
CPUS = "sys/devices/system/cpu"
SIZE = re.compile(r"([0-9]{1,9})K", re.ASCII)


@dataclass(frozen=True, slots=True)
class Figure:
    """GB/s (10^9) of one kind with so many threads: the median of the rounds, and the slowest and quickest of them.

    `share`: of the datasheet's figure, where the board has one. `each_ns`: for random reads, how long one takes.
    """

    kind: str
    threads: int
    gb_per_s: float
    slowest: float
    quickest: float
    share: float | None = None
    each_ns: float | None = None


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """What was measured, and on arrays of which size. `cache_bytes`: the last-level cache as the kernel tells it."""

    figures: tuple[Figure, ...]
    array_bytes: int
    cache_bytes: int | None
    rounds: int

    @property
    def beyond_cache(self) -> bool | None:
        """Whether the arrays are large enough to say something of the memory; None where nobody knows the cache."""
        return None if self.cache_bytes is None else self.array_bytes >= CACHES * self.cache_bytes

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "beyond_cache": self.beyond_cache}


def measure_bandwidth(
    threads: Sequence[int],
    array_bytes: int,
    *,
    cache_bytes: int | None = None,
    datasheet_gb_per_s: float | None = None,
    rounds: int = ROUNDS,
    progress: Progress = unseen,
) -> Bandwidth:
    """Every kind with each count of threads in turn, round after round: what slows the machine for a while slows all of them.

    Raises:
        HostError: there is too little memory.
    """
    arrays = Arrays(array_bytes, max(threads))
    turns = [(kind, count) for count in dict.fromkeys(threads) for kind in KINDS]
    passes = {turn: min(max(round(BLOCK_S / arrays.seconds(*turn)), 1), MOST_PASSES) for turn in turns}
    rates: dict[tuple[str, int], list[float]] = {turn: [] for turn in turns}
    for done in range(rounds):
        for turn in turns:
            rates[turn].append(arrays.counted_bytes(*turn) * passes[turn] / arrays.seconds(*turn, passes[turn]) / 1e9)
        progress(done + 1, rounds)
    figures = (_figure(kind, count, rates[kind, count], datasheet_gb_per_s) for kind, count in turns)
    return Bandwidth(tuple(figures), array_bytes, cache_bytes, rounds)


def suitable_bytes(cache_bytes: int | None, available_bytes: int | None) -> int:
    """How large an array should be, and may be here.

    Raises:
        HostError: too little memory is available.
    """
    wanted = min(max(CACHES * (cache_bytes or 0), SMALLEST_BYTES), LARGEST_BYTES)
    size = wanted if available_bytes is None else min(wanted, int(available_bytes * USABLE))
    if size < FEWEST_BYTES:
        got = f"{(available_bytes or 0) // MIB} MiB available"
        raise HostError("there is too little memory to measure its bandwidth", got=got, fix="stop what takes it, and try again")
    return size


def last_level_cache_bytes(root: Path = Path("/")) -> int | None:
    """What the processors' outermost caches hold together; None where the kernel does not say."""
    files = KernelFiles(str(root))
    found: dict[int, dict[str, int]] = {}
    try:
        look = Look(files)
        for cpu in files.names(CPUS, "cpu"):
            for index in files.names(f"{CPUS}/{cpu}/cache", "index"):
                folder = f"{CPUS}/{cpu}/cache/{index}"
                level = look.number(f"{folder}/level", 1, 9)
                size = SIZE.fullmatch(look.text(f"{folder}/size") or "")
                if level is not None and size is not None:
                    found.setdefault(int(level), {})[look.text(f"{folder}/shared_cpu_list") or cpu] = int(size[1]) * 1024
    finally:
        files.close()
    return sum(found[max(found)].values()) if found else None


class Arrays:
    """The memory that is gone over, for up to so many threads: two arrays of `words` words, and `positions` to be read at random.

    Raises:
        HostError: it is not to be had.
    """

    def __init__(self, array_bytes: int, threads: int) -> None:
        self.words = max(array_bytes // 8, threads)
        self.positions = min(max(self.words // 8, 1), MOST_POSITIONS)
        draw = np.random.default_rng(0)
        try:
            self._source = np.ones(self.words, np.uint64)
            self._target = np.ones(self.words, np.uint64)
            self._positions = [draw.integers(0, self.words, self.positions) for _ in range(threads)]
            self._gathered = [np.zeros(self.positions, np.uint64) for _ in range(threads)]
        except MemoryError as error:
            got = f"two arrays of {array_bytes // MIB} MiB refused"
            raise HostError("there is too little memory to measure its bandwidth", got=got, fix="stop what takes it") from error

    def counted_bytes(self, kind: str, threads: int) -> int:
        """What one pass is said to move."""
        if kind == "random read":
            return self.positions * threads * LINE_BYTES
        return self.words // threads * threads * 8 * (2 if kind == "copy" else 1)

    def seconds(self, kind: str, threads: int, passes: int = 1) -> float:
        """How long `threads` of them take for so many passes, from the first to start to the last to end."""
        if threads == 1:
            return self._timed(self._work(kind, 0, 1), passes)
        spans: list[tuple[float, float]] = []
        gate = threading.Barrier(threads)

        def take_part(work: Callable[[], object]) -> None:
            gate.wait()
            began_s = time.perf_counter()
            for _ in range(passes):
                work()
            spans.append((began_s, time.perf_counter()))

        workers = [threading.Thread(target=take_part, args=(self._work(kind, at, threads),)) for at in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return max(end_s for _, end_s in spans) - min(began_s for began_s, _ in spans)

    @staticmethod
    def _timed(work: Callable[[], object], passes: int) -> float:
        began_s = time.perf_counter()
        for _ in range(passes):
            work()
        return time.perf_counter() - began_s

    def _work(self, kind: str, at: int, threads: int) -> Callable[[], object]:
        """One pass over the share of this thread; each is a single call, in which the lock is free."""
        share = self.words // threads
        source, target = (array[at * share : (at + 1) * share] for array in (self._source, self._target))
        passes: dict[str, Callable[[], object]] = {
            "read": lambda: np.bitwise_or.reduce(source),  # the reduction that keeps up with the memory; sums and maxima are slower
            "write": lambda: target.fill(3),
            "copy": lambda: np.copyto(target, source),
            "random read": lambda: _gather(self._source, self._positions[at], self._gathered[at]),
        }
        return passes[kind]


def _gather(source: NDArray[np.uint64], positions: NDArray[np.int64], out: NDArray[np.uint64]) -> None:
    # Without a mode, numpy checks all positions first, and through a copy.
    np.take(source, positions, out=out, mode="clip")


def _figure(kind: str, threads: int, rates: Sequence[float], datasheet_gb_per_s: float | None) -> Figure:
    median = statistics.median(rates)
    share = None if datasheet_gb_per_s is None or kind == "random read" else round(median / datasheet_gb_per_s, 3)
    each_ns = round(LINE_BYTES / median, 2) if kind == "random read" else None
    return Figure(kind, threads, round(median, 3), round(min(rates), 3), round(max(rates), 3), share, each_ns)
