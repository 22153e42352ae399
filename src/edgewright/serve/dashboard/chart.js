// One line chart of several that share a time axis. Drawn as SVG; it knows nothing of what it draws.

import { svg } from "./dom.js";
import { brief } from "./figures.js";

export const LEFT = 44; // pixels for the numbers at the side
export const RIGHT = 8;

/** Where a time lies: `at` gives pixels, `of` a time. */
export function timeAxis(fromS, toS, width) {
  const wide = Math.max(1, width - LEFT - RIGHT);
  return {
    fromS,
    toS,
    at: (timeS) => LEFT + ((timeS - fromS) / (toS - fromS)) * wide,
    of: (x) => fromS + ((x - LEFT) / wide) * (toS - fromS),
  };
}

/** Round times for the axis, in the clock of whoever looks. */
export function timeTicks(fromS, toS, most) {
  const everyS = [60, 120, 300, 600, 900, 1200, 1800, 3600].find((s) => (toS - fromS) / s <= most) ?? 3600;
  const offsetS = new Date(toS * 1e3).getTimezoneOffset() * 60;
  const ticks = [];
  for (let timeS = Math.ceil((fromS - offsetS) / everyS) * everyS + offsetS; timeS <= toS; timeS += everyS) ticks.push(timeS);
  return ticks;
}

/** A round number that is no less, and the step of its grid. */
export function roundTop(value) {
  if (!(value > 0)) return [1, 1];
  const power = 10 ** Math.floor(Math.log10(value));
  const [top, steps] = [
    [1, 2],
    [1.5, 3],
    [2, 2],
    [3, 3],
    [4, 2],
    [5, 2],
    [6, 3],
    [8, 2],
    [10, 2],
  ].find(([factor]) => factor * power >= value * (1 - 1e-9));
  return [top * power, (top * power) / steps];
}

/**
 * A panel: `lines` are {values, kind, unit?}, `band` fills between its two, `limit` is a dashed line. Values are at the middles of bins; where
 * a bin is missing, or has no value, the line is broken.
 */
export function panel({ height, axis, width, timesS, binS, lines, band = null, limit = null, unit = "" }) {
  const found = lines.flatMap((line) => line.values.filter((value) => value !== null));
  const [top, step] = roundTop(Math.max(0, ...found, limit ?? 0) * 1.04);
  const y = (value) => height - 1 - (value / top) * (height - 8);
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (let value = 0; value <= top * 1.001; value += height < 80 ? top : step) {
    root.append(svg("line", { class: value === 0 ? "base" : "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    root.append(svg("text", { class: "number", x: LEFT - 8, y: Math.min(height - 2, Math.max(9, y(value) + 4)) }, brief(value)));
  }
  const stretches = runs(timesS, binS);
  const x = (at) => axis.at(timesS[at] + binS / 2);
  if (band) {
    for (const run of stretches) {
      const held = run.filter((at) => band.high[at] !== null && band.low[at] !== null);
      if (held.length > 1) {
        const high = held.map((at) => `${x(at).toFixed(1)},${y(band.high[at]).toFixed(1)}`);
        const low = held.map((at) => `${x(at).toFixed(1)},${y(band.low[at]).toFixed(1)}`).reverse();
        root.append(svg("polygon", { class: "band", points: [...high, ...low].join(" ") }));
      }
    }
  }
  if (limit !== null) root.append(svg("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y(limit), y2: y(limit) }));
  for (const { values, kind } of lines) {
    let path = "";
    for (const run of stretches) {
      let isDown = false;
      for (const at of run) {
        if (values[at] === null) {
          isDown = false;
          continue;
        }
        path += `${isDown ? "L" : "M"}${x(at).toFixed(1)} ${y(values[at]).toFixed(1)}`;
        if (!isDown && (run.at(-1) === at || values[at + 1] === null)) path += "h1.5"; // alone: a dot
        isDown = true;
      }
    }
    if (path) root.append(svg("path", { class: `line ${kind}`, d: path }));
  }
  if (unit) root.append(svg("text", { class: "unit", x: LEFT + 4, y: 11 }, unit));
  return root;
}

/** Indices that follow each other without a gap. */
function runs(timesS, binS) {
  const found = [];
  timesS.forEach((timeS, at) => {
    if (at === 0 || timeS - timesS[at - 1] > 1.5 * binS) found.push([]);
    found.at(-1).push(at);
  });
  return found;
}
