// Elements, made and changed. Nothing here, or anywhere else on this page, reads text as HTML.

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes; a value that is false, null or undefined leaves its attribute out. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Sets a text where it is another one: a page that stays as it is costs nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A figure: its text, and its plain value for whoever reads the page by machine. */
export function show(node, text, value) {
  say(node, text);
  const plain = value === null || value === undefined ? "" : String(value);
  if (node.dataset.value !== plain) node.dataset.value = plain;
}

export function hide(node, isHidden) {
  if (node.hidden !== isHidden) node.hidden = isHidden;
}

/** Children in the order of `keys`, each made once by `make` and kept; what has no key any more goes. */
export class Kept {
  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
    this.items = new Map();
  }

  see(keys) {
    const wanted = new Set(keys);
    for (const [key, item] of this.items) {
      if (!wanted.has(key)) {
        item.end?.();
        item.node.remove();
        this.items.delete(key);
      }
    }
    let before = null;
    for (const key of keys) {
      if (!this.items.has(key)) this.items.set(key, this.make(key));
      const { node } = this.items.get(key);
      const place = before ? before.nextSibling : this.parent.firstChild;
      if (place !== node) this.parent.insertBefore(node, place);
      before = node;
    }
    return keys.map((key) => [key, this.items.get(key)]);
  }
}
