// Live pictures, asked for only where somebody looks.
//
// A browser opens six connections to one server, for all its windows together, and a stream holds one for as long as it lasts: two cameras
// stream, the others show a still every other second, so that the figures of a second window have a connection left.

import { hide } from "./dom.js";

const MOST_STREAMS = 2;
const STREAM_MS = 60000; // a browser does not say that a stream has ended, and its last picture would look like one of now
const STILL_MS = 2000;
const AGAIN_MS = 5000;

export class Previews {
  constructor() {
    this.views = new Map();
    this.isHeld = false;
    this.observer = new IntersectionObserver((entries) => {
      for (const entry of entries) this.views.get(entry.target).inView = entry.isIntersecting;
      this.arrange();
    });
    document.addEventListener("visibilitychange", () => this.arrange());
  }

  add(name, place, image) {
    this.views.set(place, new View(name, image));
    this.observer.observe(place);
  }

  remove(place) {
    this.observer.unobserve(place);
    this.views.get(place)?.show("nothing");
    this.views.delete(place);
  }

  /** Whether the camera has pictures to give: asking for what is not there is an error in the browser's log. */
  see(place, hasPictures) {
    const view = this.views.get(place);
    if (view.hasPictures === hasPictures) return;
    view.hasPictures = hasPictures;
    this.arrange();
  }

  /** Streams begin anew: whoever sent them has been replaced, or has let them go while this machine slept. */
  again() {
    const isHeld = this.isHeld;
    this.hold(true);
    this.hold(isHeld);
  }

  /** While the service does not answer, nothing is asked for; afterwards streams begin anew. */
  hold(isHeld) {
    if (isHeld === this.isHeld) return;
    this.isHeld = isHeld;
    this.arrange();
  }

  arrange() {
    let streams = 0;
    for (const view of this.views.values()) {
      if (this.isHeld || document.hidden || !view.inView || !view.hasPictures) view.show("nothing");
      else if (streams < MOST_STREAMS) {
        streams += 1;
        view.show("stream");
      } else view.show("stills");
    }
  }
}

class View {
  constructor(name, image) {
    this.path = `/live/cameras/${encodeURIComponent(name)}/preview`;
    this.image = image;
    this.inView = false;
    this.hasPictures = false;
    this.how = "nothing";
    this.asked = 0;
    this.timer = null;
    image.addEventListener("load", () => this.came());
    image.addEventListener("error", () => this.failed());
  }

  show(how) {
    if (how === this.how) return;
    this.how = how;
    this.ask();
  }

  ask() {
    clearTimeout(this.timer);
    if (this.how === "nothing") {
      this.image.removeAttribute("src"); // which ends a stream
      hide(this.image, true);
      return;
    }
    this.asked += 1;
    this.image.src = this.how === "stream" ? `${this.path}?n=${this.asked}` : `${this.path}?one&n=${this.asked}`;
    if (this.how === "stream") this.timer = setTimeout(() => this.look(), 1000);
  }

  /** Whether a stream has begun; after a while it is asked for anew, and the picture before stays until the next one has come. */
  look() {
    if (this.how !== "stream") return;
    const hasBegun = this.image.naturalWidth > 0;
    if (hasBegun) hide(this.image, false);
    this.timer = hasBegun ? setTimeout(() => this.ask(), STREAM_MS) : setTimeout(() => this.look(), 1000);
  }

  came() {
    hide(this.image, false);
    if (this.how === "stills") {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), STILL_MS);
    }
  }

  failed() {
    hide(this.image, true);
    clearTimeout(this.timer);
    if (this.how !== "nothing") this.timer = setTimeout(() => this.ask(), AGAIN_MS);
  }
}
