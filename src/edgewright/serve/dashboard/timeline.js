// An hour on one time axis: how old answers were, how many there were, memory and heat, and above them what happened.
//
// By hand: touch or move over it. By keyboard: the plot is a slider (arrows, page up and down, home, end), and the marks above it are one
// stop of the tabulator, between which the arrows move.

import { byId, element, hide, say, svg } from "./dom.js";
import { brief, clock, hour, mib, perSecond, words } from "./figures.js";
import { LEFT, panel, RIGHT, timeAxis, timeTicks } from "./chart.js";

const RANGES = [
  [300, "5 min"],
  [900, "15 min"],
  [3600, "1 h"],
];
const STAGES = ["wait", "preprocess", "model", "postprocess", "service"];
const MARK = 24; // pixels, as a finger wants it
const MOST_LISTED = 100;
const GRAVE = { info: 0, warning: 1, error: 2 };

export class Timeline {
  constructor({ onChoice }) {
    this.place = byId("timeline");
    this.which = byId("which");
    this.stage = byId("stage");
    this.list = byId("events");
    this.seconds = 3600;
    this.hasChosen = false; // otherwise as far back as there is something to see
    this.oldestS = Infinity;
    this.history = null;
    this.events = new Map();
    this.cursor = null; // a time, or null for the latest
    this.chosen = null; // ids of events that are marked
    this.limits = { budgetBytes: null, limitC: null };
    this.names = "";
    this.onChoice = onChoice;
    this.build();
  }

  get query() {
    const [camera, model] = this.which.value ? JSON.parse(this.which.value) : [];
    return { seconds: this.seconds, camera, model };
  }

  build() {
    for (const [seconds, label] of RANGES) {
      const input = element("input", { type: "radio", name: "range", value: seconds, id: `range-${seconds}`, checked: seconds === this.seconds });
      byId("range").append(input, element("label", { for: `range-${seconds}` }, label));
      input.addEventListener("change", () => {
        this.hasChosen = true;
        this.reach(seconds);
      });
    }
    this.which.append(element("option", { value: "" }, "All cameras"));
    this.which.addEventListener("change", () => this.onChoice());
    this.stage.append(element("option", { value: "" }, "Frame age"), ...STAGES.map((stage) => element("option", { value: stage }, `Stage: ${stage}`)));
    this.stage.addEventListener("change", () => this.draw());
    this.marks = element("div", { class: "marks", role: "toolbar", "aria-label": "Events, oldest first" });
    this.marks.addEventListener("keydown", (event) => this.step(event));
    this.plot = element("div", {
      class: "plot",
      role: "slider",
      tabindex: 0,
      "aria-label": "Moment in the history",
      "aria-valuemin": 0,
      "aria-describedby": "read",
    });
    this.read = element("p", { class: "read", id: "read" });
    this.line = element("div", { class: "cursor" });
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerdown", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.move(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("blur", () => this.move(null));
    this.place.append(this.read, this.marks, this.plot);
    new ResizeObserver(() => this.draw()).observe(this.place);
  }

  /** Which cameras there are to choose from, and where the limits lie. */
  see(status) {
    this.limits = { budgetBytes: status.memory.budget_bytes, limitC: status.governor?.limit_c ?? null };
    const choices = [];
    for (const [camera, { models }] of Object.entries(status.cameras)) {
      choices.push([JSON.stringify([camera]), camera]);
      const names = Object.keys(models);
      if (names.length > 1) for (const model of names) choices.push([JSON.stringify([camera, model]), `${camera}, ${model}`]);
    }
    const names = JSON.stringify(choices);
    if (names === this.names) return;
    this.names = names;
    const before = this.which.value;
    this.which.replaceChildren(element("option", { value: "" }, "All cameras"), ...choices.map(([value, text]) => element("option", { value }, text)));
    this.which.value = choices.some(([value]) => value === before) ? before : "";
    hide(this.which.parentElement, choices.length < 2);
  }

  /** The history: all of it, or what came after what is known. */
  hear(found, isMore) {
    if (isMore && this.history && this.history.bin_s === found.bin_s) this.join(found);
    else this.history = found;
    for (const event of found.events) this.events.set(event.id, event);
    const { to_s: toS } = this.history;
    for (const [id, event] of this.events) if (event.time_s < toS - 3600 || event.time_s > toS + 5) this.events.delete(id);
    this.draw();
    this.tell();
    this.fit();
  }

  /** How far back it goes. */
  reach(seconds) {
    this.seconds = seconds;
    this.cursor = null;
    byId(`range-${seconds}`).checked = true;
    this.onChoice();
  }

  /** A service that has just begun has no hour to show. */
  fit() {
    this.oldestS = Math.min(this.oldestS, this.history.times_s[0] ?? this.history.to_s);
    const [seconds] = RANGES.find(([seconds]) => this.history.to_s - this.oldestS < seconds) ?? RANGES.at(-1);
    if (!this.hasChosen && seconds !== this.seconds) this.reach(seconds);
  }

  /** From where on to ask: the last bin was not whole. */
  get afterS() {
    return this.history?.times_s.at(-1) ?? null;
  }

  join(found) {
    const old = this.history;
    const untilS = found.times_s[0] ?? found.to_s; // beyond which all is new, or of a clock that was set back
    const keep = old.times_s.map((timeS, at) => at).filter((at) => old.times_s[at] >= found.from_s && old.times_s[at] < untilS);
    const both = (before, after) => {
      if (Array.isArray(before)) return [...keep.map((at) => before[at]), ...after];
      return Object.fromEntries(Object.keys(before).map((key) => [key, both(before[key], after[key])]));
    };
    const joined = {};
    for (const key of ["times_s", "captured_fps", "answered_fps", "dropped_fps", "age_ms", "stages_ms", "used_bytes", "temp_c", "rung"]) {
      joined[key] = both(old[key], found[key]);
    }
    this.history = { ...found, ...joined };
  }

  // --- drawn -------------------------------------------------------------------------------------------------------------------------------

  draw() {
    const width = Math.floor(this.place.clientWidth);
    if (!this.history || width < 50) return;
    const { history } = this;
    const axis = timeAxis(history.to_s - this.seconds, history.to_s, width);
    this.axis = axis;
    const common = { axis, width, timesS: history.times_s, binS: history.bin_s };
    const times = this.stage.value ? history.stages_ms[this.stage.value] : history.age_ms;
    const [inBytes, ofMemory] = (this.limits.budgetBytes ?? 0) < 10 * 2 ** 30 ? [2 ** 20, "Memory, MiB"] : [2 ** 30, "Memory, GiB"];
    const used = history.used_bytes.map((bytes) => (bytes === null ? null : bytes / inBytes));
    const budget = this.limits.budgetBytes === null ? null : this.limits.budgetBytes / inBytes;
    const isWarm = history.temp_c.some((value) => value !== null);
    const isNarrow = width < 500;
    const parts = [
      this.titled(this.stage.value ? `Time of ${words(this.stage.value)}, ms` : "Frame age, ms", [["p50", "main"], ["p99", "other"]]),
      panel({
        ...common,
        height: isNarrow ? 140 : 180,
        lines: [
          { values: times.p99, kind: "other" },
          { values: times.p50, kind: "main" },
        ],
        band: { high: times.p99, low: times.p50 },
      }),
      this.titled("Frames a second", [["answered", "main"], ["captured", "other"], ["dropped", "bad"]]),
      panel({
        ...common,
        height: isNarrow ? 80 : 96,
        lines: [
          { values: history.captured_fps, kind: "other" },
          { values: history.answered_fps, kind: "main" },
          { values: history.dropped_fps, kind: "bad" },
        ],
      }),
      this.titled(ofMemory, [["used", "main"], ["budget", "limit"]]),
      panel({ ...common, height: 64, lines: [{ values: used, kind: "main" }], limit: budget }),
    ];
    if (isWarm) {
      parts.push(this.titled("Temperature, °C", [["warmest", "main"], ...(this.limits.limitC === null ? [] : [["limit", "limit"]])]));
      parts.push(panel({ ...common, height: 64, lines: [{ values: history.temp_c, kind: "main" }], limit: this.limits.limitC }));
    }
    parts.push(this.ticks(axis, width));
    this.plot.replaceChildren(...parts, ...this.hairs(axis), this.line);
    this.mark(axis);
    this.tell();
    this.move(this.cursor);
  }

  titled(text, legend) {
    const keys = legend.map(([name, kind]) => element("span", { class: `key ${kind}` }, name));
    return element("p", { class: "title", "aria-hidden": "true" }, element("b", {}, text), ...keys);
  }

  ticks(axis, width) {
    const root = svg("svg", { width, height: 20, viewBox: `0 0 ${width} 20`, "aria-hidden": "true" });
    for (const timeS of timeTicks(axis.fromS, axis.toS, Math.max(3, width / 90))) {
      const x = axis.at(timeS);
      if (x < LEFT + 12 || x > width - RIGHT - 14) continue;
      root.append(svg("line", { class: "base", x1: x, x2: x, y1: 0, y2: 4 }), svg("text", { class: "hour", x, y: 16 }, hour(timeS)));
    }
    return root;
  }

  // --- events ------------------------------------------------------------------------------------------------------------------------------

  get shown() {
    const [camera] = this.which.value ? JSON.parse(this.which.value) : [null];
    return [...this.events.values()]
      .filter((event) => event.time_s >= this.axis.fromS && (camera === null || event.camera === null || event.camera === camera))
      .sort((one, other) => one.time_s - other.time_s);
  }

  /** Events that lie so near each other that a finger cannot tell them apart are one mark. */
  groups(axis) {
    const found = [];
    for (const event of this.shown) {
      const x = axis.at(event.time_s);
      const last = found.at(-1);
      if (last && x - last.x < MARK) last.events.push(event);
      else found.push({ x, events: [event] });
    }
    return found;
  }

  hairs(axis) {
    return this.groups(axis).map(({ x, events }) => {
      const hair = element("div", { class: `hair ${gravest(events)}` });
      hair.style.left = `${x}px`;
      return hair;
    });
  }

  mark(axis) {
    const groups = this.groups(axis);
    const held = document.activeElement?.closest?.(".marks") ? document.activeElement.dataset.id : null;
    const inTurn = held ?? [...this.marks.children].find((mark) => mark.tabIndex === 0)?.dataset.id;
    const marks = groups.map(({ x, events }) => {
      const id = events[0].id;
      const kind = gravest(events);
      const more = events.length > 1 ? ` and ${events.length - 1} more` : "";
      const mark = element(
        "button",
        { type: "button", class: `mark ${kind}`, tabindex: -1, "data-id": id, "aria-label": `${said(events[0])}${more}`, title: `${said(events[0])}${more}` },
        events.length > 1 ? String(events.length) : "",
      );
      mark.style.left = `${x}px`;
      mark.addEventListener("click", () => this.choose(events));
      mark.addEventListener("focus", () => this.choose(events));
      return mark;
    });
    this.marks.replaceChildren(...marks);
    const turn = marks.find((mark) => mark.dataset.id === inTurn) ?? marks.at(-1);
    if (turn) turn.tabIndex = 0;
    if (held !== null && turn && document.activeElement !== turn) turn.focus({ preventScroll: true });
  }

  step(event) {
    const marks = [...this.marks.children];
    const at = marks.indexOf(document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: marks.length - 1 }[event.key];
    if (at < 0 || to === undefined || !marks[to]) return;
    event.preventDefault();
    marks[at].tabIndex = -1;
    marks[to].tabIndex = 0;
    marks[to].focus();
  }

  choose(events) {
    this.chosen = new Set(events.map((event) => event.id));
    this.tell();
    const first = this.list.querySelector(".chosen");
    if (first) this.list.scrollTop = first.offsetTop - this.list.offsetTop - 8;
    this.move(events[0].time_s);
  }

  tell() {
    if (!this.axis) return;
    const events = this.shown.slice(-MOST_LISTED).reverse();
    const key = JSON.stringify([events.map((event) => event.id), [...(this.chosen ?? [])]]);
    if (key === this.told) return;
    this.told = key;
    this.list.replaceChildren(
      ...events.map((event) =>
        element(
          "li",
          { class: `${event.severity}${this.chosen?.has(event.id) ? " chosen" : ""}`, "data-kind": event.kind },
          element("time", { datetime: new Date(event.time_s * 1e3).toISOString() }, clock(event.time_s)),
          element("p", {}, element("b", {}, subject(event)), ` ${event.text}`, event.severity === "info" ? null : element("span", { class: "unseen" }, ` (${event.severity})`)),
        ),
      ),
      ...(events.length ? [] : [element("li", { class: "quiet" }, "Nothing has happened.")]),
    );
  }

  // --- the cursor --------------------------------------------------------------------------------------------------------------------------

  point(event) {
    if (!this.axis) return;
    this.move(this.axis.of(event.clientX - this.plot.getBoundingClientRect().left));
  }

  key(event) {
    const times = this.history?.times_s ?? [];
    const at = this.nearest(this.cursor);
    const page = Math.max(1, Math.round(times.length / 12));
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowDown: at - 1, ArrowUp: at + 1, PageDown: at - page, PageUp: at + page, Home: 0, End: times.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.move(times[Math.max(0, Math.min(times.length - 1, to))] + this.history.bin_s / 2);
  }

  /** The bin at a time; the last one where it is null; -1 where there are none. */
  nearest(timeS) {
    const times = this.history?.times_s ?? [];
    if (timeS === null) return times.length - 1;
    let best = -1;
    times.forEach((each, at) => {
      const middle = this.history.bin_s / 2;
      if (best < 0 || Math.abs(each + middle - timeS) < Math.abs(times[best] + middle - timeS)) best = at;
    });
    return best;
  }

  move(timeS) {
    this.cursor = timeS;
    const at = this.nearest(timeS);
    if (at < 0 || !this.axis) {
      hide(this.line, true);
      say(this.read, "Nothing yet: the first five seconds are being counted.");
      return;
    }
    const { history } = this;
    const middleS = history.times_s[at] + history.bin_s / 2;
    hide(this.line, timeS === null);
    this.line.style.left = `${this.axis.at(middleS)}px`;
    const times = this.stage.value ? history.stages_ms[this.stage.value] : history.age_ms;
    const parts = [
      clock(history.times_s[at]),
      `p50 ${brief(times.p50[at])} ms`,
      `p99 ${brief(times.p99[at])} ms`,
      `${perSecond(history.answered_fps[at])} of ${perSecond(history.captured_fps[at])} /s`,
      `${mib(history.used_bytes[at])} MiB`,
      history.temp_c[at] === null ? null : `${history.temp_c[at].toFixed(1)} °C`,
    ].filter((part) => part !== null);
    this.read.replaceChildren(...parts.map((part) => element("span", {}, part)));
    this.plot.setAttribute("aria-valuemax", history.times_s.length - 1);
    this.plot.setAttribute("aria-valuenow", at);
    this.plot.setAttribute("aria-valuetext", parts.join(", "));
  }
}

const gravest = (events) => events.reduce((most, { severity }) => (GRAVE[severity] > GRAVE[most] ? severity : most), "info");
const subject = (event) => (event.kind === event.name || !event.name ? event.kind : `${event.kind} ${event.name}`);
const said = (event) => `${clock(event.time_s)} ${subject(event)} ${event.text}`;

