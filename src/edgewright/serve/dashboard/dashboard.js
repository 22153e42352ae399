// The page: asks the service once a second how it is, and every few seconds what its history has to add.

import { byId, hide, say } from "./dom.js";
import { clock, Lately, span } from "./figures.js";
import { Cards } from "./cameras.js";
import { Board, Memory, modelRows, outputRows, Rows, Tiles } from "./parts.js";
import { Previews } from "./previews.js";
import { Timeline } from "./timeline.js";

const EVERY_MS = 1000;
const HIDDEN_EVERY_MS = 10000; // where nobody looks
const HISTORY_EVERY_MS = 3000;
const WITHIN_MS = 4000;
const STALE_MS = 3500;
const SLEPT_S = 10;

class Dashboard {
  constructor() {
    this.lately = new Lately();
    this.previews = new Previews();
    this.tiles = new Tiles(byId("now"));
    this.cards = null;
    this.models = new Rows(byId("model-rows"), ["Model", "State", "Waiting", "Restarts"], "No models.");
    this.outputs = new Rows(byId("output-rows"), ["Output", "State", "Delivered", "Waiting", "Lost"], "No outputs.");
    this.memory = new Memory(byId("memory-rows"));
    this.board = new Board(byId("board-rows"));
    this.timeline = new Timeline({ onChoice: () => this.askHistory(true) });
    this.heardMs = performance.now();
    this.heardAtS = null; // by the service's clock
    this.fault = null;
    this.historyMs = -Infinity;
    this.historyAsk = 0;
    document.addEventListener("visibilitychange", () => document.hidden || this.ask());
    setInterval(() => this.age(), 500);
    this.ask();
  }

  // --- asked -------------------------------------------------------------------------------------------------------------------------------

  async ask() {
    clearTimeout(this.timer);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const status = await get("/live");
      if (turn !== this.turn) return;
      this.hear(status);
    } catch (error) {
      if (turn !== this.turn) return;
      this.fault = error instanceof Refused ? error.message : "No answer from the service";
    }
    this.age();
    if (performance.now() - this.historyMs >= HISTORY_EVERY_MS && !this.fault) this.askHistory(false);
    this.timer = setTimeout(() => this.ask(), document.hidden ? HIDDEN_EVERY_MS : EVERY_MS);
  }

  async askHistory(isWhole) {
    this.historyMs = performance.now();
    const ask = (this.historyAsk += 1);
    const { seconds, camera, model } = this.timeline.query;
    const query = new URLSearchParams({ seconds });
    if (camera) query.set("camera", camera);
    if (model) query.set("model", model);
    const afterS = isWhole || this.isGap ? null : this.timeline.afterS;
    if (afterS !== null) query.set("after", afterS);
    try {
      const found = await get(`/live/history?${query}`);
      if (ask !== this.historyAsk) return;
      this.isGap = false;
      this.timeline.hear(found, afterS !== null);
    } catch {
      this.isGap = true; // next time all of it
    }
  }

  // --- shown -------------------------------------------------------------------------------------------------------------------------------

  hear(status) {
    const passedS = this.lately.now ? status.uptime_s - this.lately.now.uptime_s : 0;
    const isAnew = passedS < 0;
    const hasSlept = passedS - (performance.now() - this.heardMs) / 1e3 > SLEPT_S; // our clock stands still meanwhile, the service's does not
    const fronts = status.front?.restarts;
    if (isAnew || hasSlept || fronts !== this.fronts) {
      this.isGap = true;
      this.previews.again();
    }
    this.fronts = fronts;
    this.fault = null;
    this.heardMs = performance.now();
    this.heardAtS = status.time_s;
    this.lately.hear(status);
    if (!this.cards) {
      byId("cards").replaceChildren();
      this.cards = new Cards(byId("cards"), this.previews);
    }
    say(byId("name"), status.name);
    say(byId("up"), `up ${span(status.uptime_s)}`);
    this.tiles.see(this.lately);
    this.cards.see(this.lately);
    this.models.see(modelRows(status));
    this.outputs.see(outputRows(status));
    this.memory.see(status);
    this.board.see(status);
    this.timeline.see(status);
    this.previews.hold(false);
  }

  /** How old it is what stands here, and whether somebody has to be told. */
  age() {
    const silentMs = performance.now() - this.heardMs;
    const isStale = silentMs > (document.hidden ? HIDDEN_EVERY_MS + STALE_MS : STALE_MS);
    const status = this.lately.now;
    const state = byId("state");
    if (this.heardAtS !== null) say(byId("clock"), clock(this.heardAtS + silentMs / 1e3));
    document.body.classList.toggle("is-stale", isStale);
    if (isStale) {
      this.previews.hold(true);
      say(byId("stale"), `${this.fault ?? "No answer from the service"} for ${span(silentMs / 1e3)}.${this.heardAtS === null ? "" : ` What stands here is of ${clock(this.heardAtS)}.`}`);
    }
    hide(byId("stale"), !isStale);
    const [words, kind] = isStale ? ["Not answering", "bad"] : !status ? ["Connecting", "calm"] : status.ready ? ["Ready", "good"] : ["Not ready", "bad"];
    say(state, words);
    state.className = `state ${kind}`;
    const title = `${kind === "bad" ? "⚠ " : ""}${status?.name ?? "edgewright"}${kind === "bad" ? `: ${words.toLowerCase()}` : ""}`;
    if (document.title !== title) document.title = title;
  }
}

/** The service answers, and says why it does not tell. */
class Refused extends Error {}

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(WITHIN_MS), cache: "no-store", credentials: "same-origin" });
  if (answer.status === 401) {
    location.replace("/"); // where the token is asked for
    throw new Refused("Signed out");
  }
  const words = await answer.json();
  if (!answer.ok) throw new Refused("The service is silent");
  return words;
}

hide(byId("leave"), !document.documentElement.dataset.signed);
new Dashboard();

