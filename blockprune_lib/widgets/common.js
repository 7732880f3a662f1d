// What the explorers share: controls with labels, colours that follow the theme, numbers as the library prints them.
// `host.py` puts this text in place of each module's import, so that a page asks for no other file.

const STYLE = `
.bpw { --text: #1F2328; --muted: #5F6670; --line: #D0D4D9; --ground: #FFFFFF; --gone: #E9EBEE; --focus: #0072B2;
  --dense: #0072B2; --block: #C44E00; --unstructured: #00805E; --ceiling: #555555; --accent: #A6478F;
  color: var(--text); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.8rem; margin: 1rem 0;
  font-size: 0.95rem; line-height: 1.45; max-width: 100%; box-sizing: border-box; background: var(--ground); }
html[data-theme="dark"] .bpw, html[theme="dark"] .bpw, body[data-jp-theme-light="false"] .bpw {
  --text: #E6E6E6; --muted: #A4ABB4; --line: #454B54; --ground: #14181E; --gone: #2A3038; --focus: #56B4E9;
  --dense: #56B4E9; --block: #F08A3C; --unstructured: #2CC295; --ceiling: #B8BEC6; --accent: #DD9BCB; }
.bpw * { box-sizing: border-box; }
.bpw .bpw-controls { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 11rem), 1fr)); gap: 0.5rem 1rem;
  margin-bottom: 0.6rem; }
.bpw .bpw-two { grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); }
.bpw .bpw-wide { grid-column: 1 / -1; }
.bpw label { display: block; font-weight: 600; color: var(--text); margin: 0; }
.bpw output { font-weight: 400; font-variant-numeric: tabular-nums; color: var(--text); }
.bpw select, .bpw button { font: inherit; color: var(--text); background: var(--ground); min-height: 44px;
  border: 1px solid var(--muted); border-radius: 0.3rem; padding: 0 0.6rem; max-width: 100%; }
.bpw select { width: 100%; }
.bpw button { min-width: 44px; cursor: pointer; }
.bpw button:disabled { color: var(--muted); cursor: default; border-style: dashed; }
.bpw input[type="range"] { width: 100%; min-height: 44px; margin: 0; accent-color: var(--focus); }
.bpw :focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
.bpw input[type="range"]:focus-visible { outline-offset: -8px; }
.bpw figure { margin: 0; min-width: 0; }
.bpw figcaption { font-size: 0.9em; color: var(--text); text-align: left; }
.bpw canvas, .bpw svg { display: block; max-width: 100%; }
.bpw .bpw-pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: 1rem; }
.bpw table { border-collapse: collapse; width: 100%; margin: 0.6rem 0; font-variant-numeric: tabular-nums; display: table; }
.bpw th, .bpw td { text-align: right; padding: 0.2rem 0.5rem; border-bottom: 1px solid var(--line); color: var(--text);
  background: transparent; }
.bpw th:first-child { text-align: left; font-weight: 400; }
.bpw thead th { font-weight: 600; }
.bpw p { margin: 0.4rem 0; }
.bpw .bpw-note { color: var(--muted); font-size: 0.9em; }
.bpw .bpw-alert { border-left: 0.25rem solid var(--block); padding-left: 0.6rem; }
`;

/** A DOM element: node("label", {for: "x"}, "Rate ", child). */
export function node(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "circle", "text", "g", "rect", "title", "desc", "polyline"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

let made = 0;
/** An id that no other explorer on the page has. */
export const unique = (word) => `bpw-${word}-${(made += 1)}-${Math.random().toString(36).slice(2, 7)}`;

/** The explorer's frame: a labelled region with its style, and a place for messages. */
export function frame(el, label) {
  // JupyterLab would take the arrow keys, and letters, for its own commands.
  const root = node("section", { class: "bpw", "aria-label": label, "data-lm-suppress-shortcuts": "true" }, node("style", {}, STYLE));
  root.addEventListener("keydown", (event) => { if (!["Tab", "Escape"].includes(event.key)) event.stopPropagation(); });
  el.replaceChildren(root);
  return root;
}

/** A menu with its label; `choices` are values, or [value, words] pairs. */
export function menu(label, choices, value, change) {
  const id = unique("menu");
  const select = node("select", { id });
  for (const choice of choices) {
    const [key, words] = Array.isArray(choice) ? choice : [choice, choice];
    select.append(node("option", { value: key }, words));
  }
  select.value = value;
  select.addEventListener("change", () => change(select.value));
  return { box: node("div", {}, node("label", { for: id }, label), select), input: select };
}

/** A slider with its label and its value in words; `words(position)` is also what a screen reader says. */
export function slider(label, { min, max, step, value }, words, change) {
  const id = unique("slider");
  const input = node("input", { id, type: "range", min, max, step, value });
  const shown = node("output", { for: id });
  const show = () => {
    shown.textContent = words(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => { show(); change(Number(input.value)); });
  show();
  const box = node("div", { class: "bpw-wide" }, node("label", { for: id }, `${label}: `, shown), input);
  return { box, input, put(position) { input.value = position; show(); } };
}

/** A sentence that is read aloud once the reader pauses; the returned function sets it. */
export function spoken(root) {
  const live = node("p", { "aria-live": "polite", class: "bpw-said" });
  root.append(live);
  let timer = 0;
  return (sentence) => {
    clearTimeout(timer);
    timer = setTimeout(() => { live.textContent = sentence; }, live.textContent ? 250 : 0);
  };
}

/** The colours of the theme as it is now. */
export function colours(root) {
  const style = getComputedStyle(root);
  const names = ["text", "muted", "line", "ground", "gone", "dense", "block", "unstructured", "ceiling", "accent"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Call `paint` whenever the page turns dark or light; returns what ends that. */
export function onTheme(paint) {
  const watcher = new MutationObserver(paint);
  const attributes = { attributes: true, attributeFilter: ["data-theme", "theme", "data-jp-theme-light", "class"] };
  for (const part of [document.documentElement, document.body]) watcher.observe(part, attributes);
  return () => watcher.disconnect();
}

/** Call `change` when any of the traits does, whoever set it; returns what ends that. */
export function follow(model, names, change) {
  for (const name of names) model.on(`change:${name}`, change);
  return () => { for (const name of names) model.off(`change:${name}`, change); };
}

/** Set a trait and tell the other side. */
export function put(model, name, value) {
  if (model.get(name) === value) return;
  model.set(name, value);
  model.save_changes();
}

/** The bytes of a trait, whatever the host made of them. */
export function bytes(view) {
  if (view instanceof Uint8Array) return view;
  if (view instanceof DataView) return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return new Uint8Array(view);
}

/** Round half to even, as Python does. */
export function round(x) {
  const below = Math.floor(x), rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

export const count = (n) => Math.round(n).toLocaleString("en-US");
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
/** Three significant digits, without an exponent. */
export function short(x) {
  if (!Number.isFinite(x)) return "∞";
  if (x === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(x))));
  return digits > 6 ? x.toExponential(1) : x.toFixed(Math.min(digits, 6));
}
/** A rate as people write it: 5, 1.79. */
export const rateWords = (rate) => `${Number(rate.toFixed(2))}×`;

/** Height and width of one group over M x N; `height` and `width` are the structure's, null for the whole side. */
export const groupShape = ({ height, width }, M, N) => [Math.min(height ?? M, M), Math.min(width ?? N, N)];

/** Of n groups at a rate, how many stay. */
export const keptCount = (n, rate) => Math.max(1, round(n / rate));

/** What the roofline allows: milliseconds at least, for operations and bytes under two limits (1e9 a second). */
export function rooflineMs(flops, moved, peak, bandwidth) {
  return 1e3 * Math.max(flops / (peak * 1e9), moved / (bandwidth * 1e9));
}

/** 256 colours from dark blue to yellow, ordered in grey too, as packed pixels: cividis at nine places, mixed between. */
export function cividis() {
  const places = ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "fee838"];
  const rgb = places.map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * (rgb.length - 1), low = Math.min(Math.floor(at), rgb.length - 2), part = at - low;
    const [r, g, b] = rgb[low].map((value, channel) => Math.round(value + part * (rgb[low + 1][channel] - value)));
    return (255 << 24) | (b << 16) | (g << 8) | r;
  });
}

/** A CSS colour such as #E9EBEE as a packed pixel. */
export function pixel(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

const withdraw = (root) => root.querySelectorAll(".bpw-alert").forEach((old) => old.remove());

/** A message in place of a blank. */
export function complain(root, error) {
  withdraw(root);
  root.append(node("p", { class: "bpw-alert", role: "alert" }, `This explorer cannot be drawn: ${error.message || error}`));
}

/** The same act, whose error is shown and not thrown. */
export const guarded = (root, act) => () => { try { act(); } catch (error) { complain(root, error); } };

/** Asks for `paint` in the next frame, once however often it is called; an old error goes, a new one is shown. */
export function eachFrame(root, paint) {
  let pending = 0;
  const act = guarded(root, () => { pending = 0; withdraw(root); paint(); });
  return () => { pending ||= requestAnimationFrame(act); };
}

/** A module's default export: a frame with its label, in which `build(model, root)` draws and says how to end. */
export const explorer = (label, build) => ({
  render({ model, el }) {
    const root = frame(el, label);
    try {
      return build(model, root);
    } catch (error) {
      complain(root, error);
      return () => {};
    }
  },
});
