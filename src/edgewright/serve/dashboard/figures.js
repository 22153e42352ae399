// Figures and their words. Pure: nothing here knows of a page.

const LATELY_S = 10;

/** The share of samples, in milliseconds, as run/recent.py has it: evenly spread within a bucket; null where there are none. */
export function quantileMs(counts, share, boundsS) {
  const total = sum(counts);
  if (!total) return null;
  const wanted = share * total;
  let seen = 0;
  let lowS = 0;
  for (let at = 0; at < boundsS.length; at += 1) {
    if (counts[at] && seen + counts[at] >= wanted) {
      return (lowS + ((boundsS[at] - lowS) * Math.max(0, wanted - seen)) / counts[at]) * 1e3;
    }
    seen += counts[at];
    lowS = boundsS[at];
  }
  return boundsS[boundsS.length - 1] * 1e3;
}

/** What is counted in `now` and not yet in `before`; all of it where the counting began anew. */
export function since(now, before) {
  if (!before || before.length !== now.length) return now;
  const found = now.map((count, at) => count - before[at]);
  return found.some((count) => count < 0) ? now : found;
}

export function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** The last status and one about ten seconds older, and what came between them. */
export class Lately {
  constructor() {
    this.seen = [];
  }

  hear(status) {
    const last = this.seen.at(-1);
    if (last && (status.uptime_s < last.uptime_s || status.uptime_s - last.uptime_s > 3 * LATELY_S)) this.seen = [];
    if (!last || status.uptime_s !== last.uptime_s) this.seen.push(status);
    while (this.seen.length > 2 && status.uptime_s - this.seen[1].uptime_s >= LATELY_S) this.seen.shift();
  }

  get now() {
    return this.seen.at(-1);
  }

  get before() {
    return this.seen.length > 1 ? this.seen[0] : null;
  }

  get seconds() {
    return this.before ? this.now.uptime_s - this.before.uptime_s : 0;
  }

  /** Of a camera: frames and answers a second, and what was dropped. null before there are two moments. */
  camera(name) {
    const now = this.now.cameras[name];
    const before = this.before?.cameras[name];
    if (!before) return { capturedFps: null, answeredFps: null, dropped: 0, captured: 0 };
    const answered = (camera) => sum(Object.values(camera.models).map((pair) => pair.answered));
    const captured = Math.max(0, now.captured - before.captured);
    return {
      captured,
      capturedFps: captured / this.seconds,
      answeredFps: Math.max(0, answered(now) - answered(before)) / this.seconds,
      dropped: Math.max(0, droppedOf(now) - droppedOf(before)),
    };
  }

  /** p50 and p99 (ms) of a pair's ages, or of one of its stages. */
  times(camera, model, stage = null) {
    const of = (status) => {
      const pair = status?.cameras[camera]?.models[model];
      return stage === null ? pair?.age.counts : pair?.stages[stage]?.counts;
    };
    return this.quantiles(of(this.now), of(this.before));
  }

  /** Of all ages. */
  ages() {
    let all = null;
    for (const [name, camera] of Object.entries(this.now.cameras)) {
      for (const [model, pair] of Object.entries(camera.models)) {
        const found = since(pair.age.counts, this.before?.cameras[name]?.models[model]?.age.counts);
        all = all ? all.map((count, at) => count + found[at]) : found;
      }
    }
    return this.before && all ? this.quantiles(all, null) : { p50: null, p99: null };
  }

  quantiles(now, before) {
    if (!now || !this.before) return { p50: null, p99: null };
    const found = since(now, before);
    return { p50: quantileMs(found, 0.5, this.now.bounds_s), p99: quantileMs(found, 0.99, this.now.bounds_s) };
  }
}

/** What somebody asked not to be looked at. */
const SPARED = ["still", "fps_cap"];

/** All that was dropped of a camera's frames: before any model could be asked, and by each model. */
export function drops(camera) {
  const found = { ...camera.dropped };
  for (const pair of Object.values(camera.models)) {
    for (const [reason, count] of Object.entries(pair.dropped)) found[reason] = (found[reason] ?? 0) + count;
  }
  return found;
}

/** How many of those nobody asked for. */
export const droppedOf = (camera) => sum(Object.entries(drops(camera)).map(([reason, count]) => (SPARED.includes(reason) ? 0 : count)));

// --- words ---------------------------------------------------------------------------------------------------------------------------------

export const NONE = "–";
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** Three figures that count: 7.25, 41.2, 310. */
export function short(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  return size >= 99.95 ? WHOLE.format(value) : value.toFixed(size >= 9.995 ? 1 : 2);
}

/** As few as tell: 41, 7.2. */
export function brief(value) {
  if (value === null || value === undefined) return NONE;
  return Math.abs(value) >= 9.95 || Number.isInteger(value) ? WHOLE.format(value) : value.toFixed(1);
}

export const whole = (value) => (value === null || value === undefined ? NONE : WHOLE.format(value));
export const perSecond = (value) => (value === null ? NONE : value.toFixed(1));
export const mib = (bytes) => (bytes === null || bytes === undefined ? NONE : WHOLE.format(bytes / 2 ** 20));

/** Milliseconds as [number, unit]: seconds where there are many. */
export function time(ms) {
  if (ms === null || ms === undefined) return [NONE, "ms"];
  return ms >= 9999.5 ? [short(ms / 1e3), "s"] : [brief(ms), "ms"];
}

export const clock = (timeS) => CLOCK.format(timeS * 1e3);
export const hour = (timeS) => HOUR.format(timeS * 1e3);

/** 42 s, 5 min, 3 h 12 min, 4 d 2 h. */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const words = (name) => name.replaceAll("_", " ");
