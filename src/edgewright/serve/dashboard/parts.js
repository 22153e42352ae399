// What there is once: the line of figures at the top, models, outputs, memory and the board.

import { element, hide, Kept, say, show } from "./dom.js";
import { brief, mib, NONE, perSecond, span, sum, time, whole, words } from "./figures.js";

const GOOD = { ready: "good", up: "good", loading: "calm", paused: "calm", ended: "calm", waiting: "calm" };

// --- tiles ---------------------------------------------------------------------------------------------------------------------------------

export class Tiles {
  constructor(parent) {
    this.tiles = {};
    for (const [key, label] of [
      ["answered", "Answers"],
      ["p50", "Frame age p50"],
      ["p99", "Frame age p99"],
      ["dropped", "Dropped"],
      ["memory", "Memory"],
      ["heat", "Temperature"],
    ]) {
      const tile = { value: element("b", { "data-figure": key }), unit: element("small"), more: element("p", { class: "quiet" }) };
      tile.node = element("div", { class: "tile" }, element("h3", {}, label), element("p", {}, tile.value, " ", tile.unit), tile.more);
      this.tiles[key] = tile;
      parent.append(tile.node);
    }
  }

  see(lately) {
    const { now } = lately;
    const paces = Object.keys(now.cameras).map((name) => lately.camera(name));
    const isKnown = lately.before !== null;
    const total = (key) => (isKnown ? sum(paces.map((pace) => pace[key])) : null);
    this.set("answered", perSecond(total("answeredFps")), "/s", total("answeredFps"), isKnown ? `of ${perSecond(total("capturedFps"))} frames` : "");
    const ages = lately.ages();
    for (const key of ["p50", "p99"]) this.set(key, ...time(ages[key]), ages[key], "last 10 s");
    const captured = total("captured");
    const share = captured ? (total("dropped") / captured) * 100 : null;
    this.set("dropped", share === null ? NONE : brief(share), "%", share, "of frames, last 10 s");
    const { memory, governor, board } = now;
    const used = sum(Object.values(memory.used_bytes));
    this.set("memory", mib(used), "MiB", used, `of ${mib(memory.budget_bytes)} MiB`, memory.alarm);
    const tempC = governor?.temp_c ?? hottest(board);
    hide(this.tiles.heat.node, tempC === null);
    const limitC = governor?.limit_c ?? null;
    const isSlowed = Object.values(board?.throttled ?? {}).some(Boolean);
    const more = limitC === null ? "" : `limit ${brief(limitC)} °C`;
    this.set("heat", tempC === null ? NONE : tempC.toFixed(1), "°C", tempC, more, isSlowed || (limitC !== null && tempC > limitC));
  }

  set(key, text, unit, value, more, isBad = false) {
    const tile = this.tiles[key];
    show(tile.value, text, value);
    say(tile.unit, unit);
    say(tile.more, more);
    tile.node.classList.toggle("alarm", isBad);
  }
}

const hottest = (board) => Object.values(board?.zones_c ?? {}).reduce((most, each) => (most === null || each > most ? each : most), null);

// --- models and outputs --------------------------------------------------------------------------------------------------------------------

export class Rows {
  constructor(parent, columns, nothing) {
    const head = element("tr", {}, ...columns.map((column) => element("th", { scope: "col" }, column)));
    const body = element("tbody");
    this.table = element("table", { class: "rows" }, element("thead", {}, head), body);
    this.nothing = element("p", { class: "quiet" }, nothing);
    this.kept = new Kept(body, (name) => new Row(name, columns.length));
    parent.append(this.table, this.nothing);
  }

  /** `found`: [name, [cells], why] for each; a cell is a text, or {state}, or {text, value, key}. */
  see(found) {
    hide(this.table, found.length === 0);
    hide(this.nothing, found.length > 0);
    const rows = Object.fromEntries(found.map(([name, ...rest]) => [name, rest]));
    for (const [name, row] of this.kept.see(Object.keys(rows))) row.see(...rows[name]);
  }
}

class Row {
  constructor(name, columns) {
    this.why = element("p", { class: "quiet" });
    this.cells = Array.from({ length: columns - 1 }, () => element("td"));
    this.node = element("tr", { "data-row": name }, element("th", { scope: "row" }, name, this.why), ...this.cells);
  }

  see(cells, why) {
    say(this.why, why ?? "");
    hide(this.why, !why);
    cells.forEach((cell, at) => {
      const node = this.cells[at];
      if (cell.state) {
        if (!node.firstChild) node.append(element("span"));
        node.firstChild.className = `state ${GOOD[cell.state] ?? "bad"}`;
        say(node.firstChild, cell.state);
      } else if (cell.key) {
        node.dataset.figure = cell.key;
        show(node, cell.text, cell.value);
      } else say(node, cell);
    });
  }
}

export function modelRows(status) {
  return Object.entries(status.models).map(([name, model]) => [
    name,
    [
      { state: model.state },
      { text: whole(model.waiting), value: model.waiting, key: "waiting" },
      { text: whole(model.restarts), value: model.restarts, key: "restarts" },
    ],
    [engine(model.engine), model.why].filter(Boolean).join(": "),
  ]);
}

const engine = (found) => (Array.isArray(found) ? found.slice(0, 3).join(" ") : found);
const LOST = ["refused", "overflowed", "turned_away", "spared", "damaged"];

export function outputRows(status) {
  return (status.outputs ?? []).map((output) => {
    const lost = sum(LOST.map((key) => output[key] ?? 0));
    const isFailing = output.failing_since_s !== null && output.failing_since_s !== undefined;
    return [
      output.name,
      [
        { state: isFailing ? "failing" : "ready" },
        { text: whole(output.delivered), value: output.delivered, key: "delivered" },
        { text: whole(output.waiting_records), value: output.waiting_records, key: "spooled" },
        { text: whole(lost), value: lost, key: "lost" },
      ],
      isFailing ? output.last_error : null,
    ];
  });
}

// --- memory --------------------------------------------------------------------------------------------------------------------------------

export class Memory {
  constructor(parent) {
    this.fill = element("i");
    this.total = element("p", { class: "total" });
    this.bar = element("div", { class: "meter", role: "meter", "aria-label": "Memory in use", "aria-valuemin": 0 }, this.fill);
    this.body = element("tbody");
    const columns = ["Part", "", "Used", "Promised"].map((text) => element(text ? "th" : "td", text ? { scope: "col" } : {}, text));
    this.kept = new Kept(this.body, (part) => new Part(part));
    parent.append(this.total, this.bar, element("table", { class: "rows parts-of-memory" }, element("thead", {}, element("tr", {}, ...columns)), this.body));
  }

  see({ memory }) {
    const used = sum(Object.values(memory.used_bytes));
    const promised = sum(Object.values(memory.promised_bytes));
    say(this.total, `${mib(used)} of ${mib(memory.budget_bytes)} MiB in use, ${mib(promised)} MiB promised`);
    this.bar.setAttribute("aria-valuemax", memory.budget_bytes);
    this.bar.setAttribute("aria-valuenow", used);
    this.bar.setAttribute("aria-valuetext", `${mib(used)} of ${mib(memory.budget_bytes)} MiB`);
    this.fill.style.width = `${Math.min(100, (used / memory.budget_bytes) * 100)}%`;
    this.bar.classList.toggle("alarm", memory.alarm);
    const parts = [...new Set([...Object.keys(memory.promised_bytes), ...Object.keys(memory.used_bytes)])];
    const most = Math.max(1, ...parts.map((part) => Math.max(memory.used_bytes[part] ?? 0, memory.promised_bytes[part] ?? 0)));
    for (const [part, row] of this.kept.see(parts)) row.see(memory.used_bytes[part] ?? null, memory.promised_bytes[part] ?? null, most);
  }
}

class Part {
  constructor(part) {
    this.used = element("td", { "data-used": part });
    this.promised = element("td");
    this.fill = element("i");
    this.more = element("b");
    const length = element("td", { class: "length", "aria-hidden": "true" }, element("span", {}, this.more, this.fill));
    this.node = element("tr", {}, element("th", { scope: "row" }, part), length, this.used, this.promised);
  }

  see(used, promised, most) {
    show(this.used, mib(used), used);
    show(this.promised, mib(promised), promised);
    this.fill.style.width = `${((used ?? 0) / most) * 100}%`;
    this.more.style.width = `${((promised ?? 0) / most) * 100}%`;
  }
}

// --- the board -----------------------------------------------------------------------------------------------------------------------------

export class Board {
  constructor(parent) {
    const list = element("dl", { class: "facts-list" });
    this.kept = new Kept(list, (key) => new Fact(key));
    this.parent = parent;
    parent.append(list);
  }

  see(status) {
    const facts = new Map(boardFacts(status));
    for (const [key, fact] of this.kept.see([...facts.keys()])) fact.see(...facts.get(key));
  }
}

class Fact {
  constructor(label) {
    this.value = element("dd", { "data-fact": label });
    this.node = element("div", {}, element("dt", {}, label), this.value);
  }

  see(text, isBad = false) {
    say(this.value, text);
    this.value.classList.toggle("alarm", isBad);
  }
}

function boardFacts({ governor, board, memory, disk }) {
  const facts = [];
  for (const [zone, tempC] of Object.entries(board?.zones_c ?? {})) facts.push([zone, [`${tempC.toFixed(1)} °C`]]);
  for (const [flag, isUp] of Object.entries(board?.throttled ?? {})) facts.push([capital(flag), [isUp ? "now" : "no", isUp]]);
  if (governor?.heat_governed !== false && governor?.rung) {
    const at = governor.rungs.indexOf(governor.rung);
    facts.push(["Runs as", [`${governor.rung} (${at + 1} of ${governor.rungs.length})`, at > 0]]);
    if (governor.reason) facts.push(["Because", [governor.reason]]);
  }
  const values = [
    ["Frames allowed", governor?.fps_cap, (value) => `${brief(value)} /s`],
    ["Sustainable", governor?.sustainable_fps, (value) => `${brief(value)} /s`],
    ["Until it throttles", governor?.time_to_throttle_s, span],
    ["Heat limit", governor?.limit_c, (value) => `${brief(value)} °C`],
    ["Power", board?.power_w, (value) => `${value.toFixed(1)} W`],
    ["Cores busy", board?.busy_cores, (value) => value.toFixed(1)],
    ["Written today", disk?.day_bytes, (value) => `${mib(value)} MiB`],
  ];
  for (const [label, value, text] of values) {
    if (value !== null && value !== undefined) facts.push([label, [text(value)]]);
  }
  if (governor?.relief && governor.relief !== "none") facts.push(["Relief for memory", [words(governor.relief), true]]);
  if (memory.alarm) facts.push(["Memory", ["more than 90 % of the budget is used", true]]);
  (governor?.faults ?? []).forEach((fault, at) => facts.push([`Fault ${at + 1}`, [fault, true]]));
  return facts.length ? facts : [["Sensors", ["this board tells nothing"]]];
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

