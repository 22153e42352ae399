"""How well is heat governed? Every case on plants that are not the governor's own model, against an oracle that knows the plant.

    python benchmarks/performance.py governor render     # the named cases, 3 seeds each, and 200 drawn boards: results/governor.json, .svg
    python benchmarks/governor.py --seeds 1 --drawn 20   # the table alone

The whole is simulated, so it needs no quiet machine; simulated hours take seconds, the whole some minutes.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from edgewright.bench.svg import Scale, drawing, line, markup, short, text
from edgewright.run.govern.heat import Observation
from edgewright.run.govern.thermal import ThermalGovernor
from edgewright.testing.closed_loop import EXAMPLE, Case, Oracle, Run, govern, oracle
from edgewright.testing.heat_cases import FAULTS, FEASIBLE, TOO_HOT, drawn
from edgewright.testing.plants import BARE_PI_5

CHART = Path(__file__).parent / "results" / "governor.svg"
SHOWN = "load step"
SEEDS, DRAWN = 3, 200
FAULT_AT_S = 1800.0
STYLE = "text{font:13px sans-serif;fill:#888}.axis{stroke:#888}.die{fill:none;stroke:#c33}.fps{fill:none;stroke:#36c}"
STYLE += ".limit{stroke:#c33;stroke-dasharray:4 4}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--drawn", type=int, default=DRAWN)
    options = parser.parse_args()
    judged(options.seeds, options.drawn)


def governed() -> dict[str, Any]:
    """All of it; the chart is written as well."""
    CHART.write_text(chart(next(case for case in FEASIBLE if case.name == SHOWN)))
    return {"chart": CHART.name, "charted": SHOWN, **judged(SEEDS, DRAWN)}


def judged(seeds: int, boards: int) -> dict[str, Any]:
    """Every case, told as it goes."""
    result = {
        "seeds": seeds,
        "feasible": list(feasible_rows(seeds)),
        "too_hot": list(hot_rows()),
        "sensor_faults": list(fault_rows()),
        "drawn": drawn_row(boards),
        "step_microseconds": round(step_cost_us(), 1),
    }
    print(f"a step of the governor: {result['step_microseconds']:.0f} microseconds")
    return result


def feasible_rows(seeds: int) -> Iterator[dict[str, Any]]:
    print(f"{'case':32} {'over limit':>10} {'reversals':>9} {'of oracle':>9} {'settled':>8}")
    for case in FEASIBLE:
        best = oracle(case)
        assert best is not None, case.name
        figures = [judge(case, best, govern(case, seed=seed)) for seed in range(seeds)]
        row = {"case": case.name, "oracle_rung": best.rung, "oracle_fps": round(best.fps, 2)} | worst(figures)
        print(f"{case.name:32} {row['over_c']:+10.2f} {row['reversals']:9} {row['of_oracle']:9.1%} {row['settled']:8.1%}", flush=True)
        yield row


def judge(case: Case, best: Oracle, run: Run) -> dict[str, float]:
    """`settled`: of the last third alone, when no warmth can be stored any more."""
    a_second = best.fps * case.ladder.rungs[best.rung].worth
    last_s = case.seconds * 2 / 3
    return {
        "over_c": round(run.hottest_c - case.limits.limit_c, 2),
        "reversals": run.reversals(),
        "of_oracle": round(run.work / a_second / case.seconds, 4),
        "settled": round(run.work_since(last_s) / a_second / (case.seconds - last_s), 4),
    }


def worst(figures: list[dict[str, float]]) -> dict[str, float]:
    low = {"of_oracle", "settled"}
    return {name: (min if name in low else max)(each[name] for each in figures) for name in figures[0]}


def hot_rows() -> Iterator[dict[str, Any]]:
    for case in TOO_HOT:
        assert oracle(case) is None, case.name
        run = govern(case)
        crossed_s = next(second.time_s for second in run.seconds if second.die_c > case.limits.limit_c)
        said_s = run.first("infeasible", "error")
        assert said_s is not None, case.name
        held = all(second.rung == len(case.ladder.rungs) - 1 for second in run.seconds if second.time_s > said_s)
        print(
            f"{case.name:32} above the limit at {crossed_s:.0f} s, said {said_s - crossed_s:.0f} s later, lowest rung held: {held}",
            flush=True,
        )
        yield {"case": case.name, "crossed_s": crossed_s, "said_after_s": round(said_s - crossed_s, 1), "lowest_held": held}


def fault_rows() -> Iterator[dict[str, Any]]:
    for name, fault in FAULTS.items():
        case = Case(name, BARE_PI_5, seconds=2700.0, fault=fault(FAULT_AT_S))
        run = govern(case)
        noticed_s = run.first("sensor", "error")
        assert noticed_s is not None, name
        over = run.hottest_c - case.limits.limit_c
        print(f"sensor {name:25} noticed after {noticed_s - FAULT_AT_S:.0f} s, over limit {over:+.2f}", flush=True)
        yield {"fault": name, "noticed_after_s": round(noticed_s - FAULT_AT_S, 1), "over_c": round(over, 2)}


def drawn_row(count: int) -> dict[str, Any]:
    """Boards drawn at random, those left out that can hardly do anything at all: the oracle has less than three times the least heat."""
    figures, infeasible = [], 0
    for seed in range(count):
        case = drawn(seed)
        best = oracle(case)
        if best is None or best.heat < 3 * case.limits.lowest_fps * case.ladder.rungs[-1].frame_heat:
            infeasible += 1
            continue
        figures.append(judge(case, best, govern(case, seed=seed)))
        if not len(figures) % 10:
            print(f"{seed + 1} of {count} boards drawn, worst so far: {worst(figures)}", flush=True)
    shares = sorted(each["of_oracle"] for each in figures)
    row = {"boards": len(figures), "left_out": infeasible, "median_of_oracle": shares[len(shares) // 2]} | worst(figures)
    print(
        f"{len(figures)} drawn boards: over limit {row['over_c']:+.2f}, reversals {row['reversals']}, "
        f"of oracle at least {row['of_oracle']:.1%}, median {row['median_of_oracle']:.1%}, settled at least {row['settled']:.1%}"
    )
    return row


def step_cost_us() -> float:
    governor, steps = ThermalGovernor(EXAMPLE), 3000
    started = time.process_time()
    for at in range(steps):
        governor.step(Observation(float(at), 60.0 + at % 7 * 0.5, 5.0, 6.0, 3.0, throttled=False))
    return (time.process_time() - started) / steps * 1e6


def chart(case: Case) -> str:
    """Temperature and frames over time."""
    run = govern(case)
    width, height, left, right = 900, 420, 60, 860
    svg = drawing(
        width, height, f"The governor on a board: {case.name}", ("Die temperature above, frames answered a second below, over minutes.",)
    )
    svg.set("xmlns", "http://www.w3.org/2000/svg")  # a file of its own
    ET.SubElement(svg, "style").text = STYLE
    minutes = Scale(0, case.seconds / 60, left, right)
    temps, rates = Scale(20, 90, 220, 20), Scale(0, 8, 390, 240)
    for scale, unit in ((temps, "°C"), (rates, "frames/s")):
        line(svg, left, scale.start_px, left, scale.end_px, "axis")
        for tick in scale.ticks(4):
            text(svg, left - 6, scale(tick) + 4, short(tick), "", "end")
        text(svg, left + 6, scale.end_px + 10, unit, "")
    for tick in minutes.ticks(8):
        text(svg, minutes(tick), 410, f"{short(tick)} min", "", "middle")
    line(svg, left, temps(case.limits.limit_c), right, temps(case.limits.limit_c), "limit")
    for scale, css, values in (
        (temps, "die", [second.die_c for second in run.seconds]),
        (rates, "fps", [second.fps for second in run.seconds]),
    ):
        every = range(0, len(values), 6)
        points = " ".join(f"{minutes(run.seconds[at].time_s / 60):.1f},{scale(values[at]):.1f}" for at in every)
        ET.SubElement(svg, "polyline", {"points": points, "class": css})
    before = 0
    for second in run.seconds:
        if second.rung != before:
            text(svg, minutes(second.time_s / 60), 236, f"rung {second.rung}", "")
            before = second.rung
    return markup(svg) + "\n"


if __name__ == "__main__":
    main()
