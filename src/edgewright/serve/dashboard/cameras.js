// A card a camera: its picture, its pace, how old its answers are and why, and what was dropped.

import { byId, element, Kept, say, show } from "./dom.js";
import { brief, drops, perSecond, time, whole, words } from "./figures.js";

const STAGES = ["wait", "preprocess", "model", "postprocess", "service"];
const CALM = { up: "good", ended: "calm", starting: "calm" };

export class Cards {
  constructor(parent, previews) {
    this.previews = previews;
    this.count = byId("how-many");
    this.kept = new Kept(parent, (name) => new Card(name, previews));
  }

  see(lately) {
    const all = Object.values(lately.now.cameras);
    const up = all.filter((camera) => camera.state === "up" || camera.state === "ended").length;
    say(this.count, all.length > 1 || up < all.length ? `${up} of ${all.length} up` : "");
    this.count.classList.toggle("alarm", up < all.length);
    const names = Object.keys(lately.now.cameras);
    for (const [name, card] of this.kept.see(names)) card.see(lately, name);
  }
}

class Card {
  constructor(name, previews) {
    this.previews = previews;
    this.image = element("img", { alt: `Live picture of ${name}, with what was found`, hidden: true });
    this.note = element("p", { class: "none" });
    this.place = element("div", { class: "view" }, this.note, this.image);
    this.state = element("span", { class: "state" });
    this.figures = {};
    const figures = element("dl", { class: "figures" });
    for (const [key, label, unit] of [
      ["answered", "Answers", "/s"],
      ["captured", "Frames", "/s"],
      ["p50", "Age p50", "ms"],
      ["p99", "Age p99", "ms"],
    ]) {
      this.figures[key] = { value: element("span", { "data-figure": key }), unit: element("small", {}, unit) };
      figures.append(element("div", {}, element("dt", {}, label), element("dd", {}, this.figures[key].value, " ", this.figures[key].unit)));
    }
    this.models = element("div");
    this.pairs = new Kept(this.models, (model) => new Stages(model));
    this.drops = element("ul", { class: "drops", "aria-label": "Dropped, by reason" });
    this.reasons = new Kept(this.drops, (reason) => new Reason(reason));
    this.facts = element("p", { class: "facts" });
    this.node = element(
      "article",
      { class: "card", "aria-label": `Camera ${name}`, "data-camera": name },
      this.place,
      element("header", {}, element("h3", {}, name), this.state),
      figures,
      this.models,
      this.drops,
      this.facts,
    );
    previews.add(name, this.place, this.image);
  }

  end() {
    this.previews.remove(this.place);
  }

  see(lately, name) {
    const camera = lately.now.cameras[name];
    const pace = lately.camera(name);
    const models = Object.keys(camera.models);
    say(this.state, camera.state);
    this.state.className = `state ${CALM[camera.state] ?? "bad"}`;
    const isPaused = lately.now.previews?.paused === true;
    this.previews.see(this.place, camera.state === "up" && pace.answeredFps !== 0 && !isPaused);
    const why = camera.state !== "up" && camera.state !== "ended" ? (camera.why ?? "No frames yet") : null;
    say(this.note, why ?? (isPaused ? "No previews while the board is too warm to draw" : "No picture yet"));
    const { answered, captured, p50, p99 } = this.figures;
    show(answered.value, perSecond(pace.answeredFps), pace.answeredFps);
    show(captured.value, perSecond(pace.capturedFps), pace.capturedFps);
    const age = worst(models.map((model) => lately.times(name, model)));
    for (const [figure, ms] of [
      [p50, age.p50],
      [p99, age.p99],
    ]) {
      const [text, unit] = time(ms);
      show(figure.value, text, ms);
      say(figure.unit, unit);
    }
    for (const [model, stages] of this.pairs.see(models)) stages.see(lately, name, model, models.length > 1);
    const dropped = Object.entries(drops(camera)).filter(([, count]) => count > 0);
    const counts = Object.fromEntries(dropped);
    for (const [reason, item] of this.reasons.see(Object.keys(counts).sort())) item.see(counts[reason], camera.captured);
    const size = camera.size_wh ? `${camera.size_wh[0]} × ${camera.size_wh[1]}` : null;
    const cap = camera.fps_cap ? `at most ${brief(camera.fps_cap)} /s` : null;
    const restarts = camera.restarts ? `${whole(camera.restarts)} ${camera.restarts === 1 ? "restart" : "restarts"}` : null;
    const none = dropped.length ? null : "nothing dropped";
    say(this.facts, [none, `${whole(camera.captured)} frames`, size, cap, restarts].filter(Boolean).join(" · "));
    this.facts.dataset.captured = camera.captured;
    this.facts.dataset.restarts = camera.restarts;
  }
}

/** p50 and p99 of one model's answers by stage, the bar as long as each stage's share of the longest. */
class Stages {
  constructor(model) {
    this.caption = element("caption", {}, model);
    this.rows = {};
    const body = element("tbody");
    for (const stage of STAGES) {
      const row = { fill: element("i"), more: element("b"), p50: element("td", { "data-figure": `${stage}-p50` }), p99: element("td") };
      this.rows[stage] = row;
      body.append(
        element(
          "tr",
          {},
          element("th", { scope: "row" }, stage),
          element("td", { class: "length", "aria-hidden": "true" }, element("span", {}, row.more, row.fill)),
          row.p50,
          row.p99,
        ),
      );
    }
    const head = element("tr", {}, element("th", { scope: "col" }, "Stage"), element("td", { class: "length" }));
    for (const text of ["p50 ms", "p99 ms"]) head.append(element("th", { scope: "col" }, text));
    this.node = element("table", { class: "stages", "data-model": model }, this.caption, element("thead", {}, head), body);
  }

  see(lately, camera, model, isNamed) {
    this.caption.className = isNamed ? "" : "unseen";
    const found = Object.fromEntries(STAGES.map((stage) => [stage, lately.times(camera, model, stage)]));
    const longest = Math.max(...Object.values(found).map((times) => times.p99 ?? 0), 1e-6);
    for (const stage of STAGES) {
      const { fill, more, p50, p99 } = this.rows[stage];
      show(p50, brief(found[stage].p50), found[stage].p50);
      show(p99, brief(found[stage].p99), found[stage].p99);
      fill.style.width = `${((found[stage].p50 ?? 0) / longest) * 100}%`;
      more.style.width = `${((found[stage].p99 ?? 0) / longest) * 100}%`;
    }
  }
}

class Reason {
  constructor(reason) {
    this.count = element("b", { "data-dropped": reason });
    this.share = element("small");
    this.node = element("li", {}, `${words(reason)} `, this.count, this.share);
  }

  see(count, captured) {
    show(this.count, whole(count), count);
    const share = captured ? (count / captured) * 100 : 0;
    say(this.share, share >= 0.1 ? ` ${brief(share)} %` : "");
  }
}

function worst(times) {
  const of = (key) => times.reduce((most, each) => (each[key] !== null && (most === null || each[key] > most) ? each[key] : most), null);
  return { p50: of("p50"), p99: of("p99") };
}

