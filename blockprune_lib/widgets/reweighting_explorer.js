import { node, menu, slider, spoken, colours, onTheme, follow, put, short, guarded, eachFrame, explorer } from "./common.js";

const S = 380, PAD = 34, STEPS = 60;

/** Norms of the groups of w: of two groups of one weight, or of one group of both. */
export const norms = (w, grouping) => (grouping === "separate" ? w.map(Math.abs) : [Math.hypot(...w)]);

/** The penalty on a group of that norm, f, and its slope, f': the library's `concave_penalty` and `reweighted_alpha`. */
export const penalty = (norm, eps) => Math.log(norm + eps);
export const alpha = (norm, eps) => 1 / (norm + eps);

const loss = (w, m, rho) => {
  const [a, b] = [w[0] - m[0], w[1] - m[1]];
  return 0.5 * (a * a + b * b) + rho * a * b;
};

/** Proximal gradient steps, `STEPS` a round; after each round each alpha is computed anew. Returns rounds of paths. */
export function solve({ first, second, lam, eps, rounds, grouping, rho }) {
  const m = [first, second], step = 1 / (1 + Math.abs(rho)), done = [];
  let w = [...m], alphas = norms(w, grouping).map(() => 1);
  for (let round = 0; round <= rounds; round += 1) {
    if (round) alphas = norms(w, grouping).map((norm) => alpha(norm, eps));
    const path = [[...w]];
    for (let i = 0; i < STEPS; i += 1) {
      const [a, b] = [w[0] - m[0], w[1] - m[1]];
      w = [w[0] - step * (a + rho * b), w[1] - step * (b + rho * a)];
      const sizes = norms(w, grouping);
      const shrink = sizes.map((size, g) => (size > step * lam * alphas[g] ? 1 - (step * lam * alphas[g]) / size : 0));
      w = w.map((value, i2) => value * shrink[grouping === "separate" ? i2 : 0]);
      path.push([...w]);
    }
    const sizes = norms(w, grouping), least = loss(w, m, rho);
    const objective = least + lam * sizes.reduce((total, norm) => total + penalty(norm, eps), 0);
    done.push({ path, alpha: [...alphas], w: [...w], norms: sizes, loss: least, objective });
  }
  return done;
}

function draw(svg, theme, model, rounds, rho) {
  const m = [model.get("first"), model.get("second")], low = -0.6, high = 2.6, grouping = model.get("grouping");
  const at = (value) => PAD + ((S - 2 * PAD) * (value - low)) / (high - low), x = at, y = (value) => S - at(value);
  svg.replaceChildren();
  const put2 = (tag, attributes, ...words) => svg.append(node(tag, attributes, ...words));
  const line = (points, colour, width, dash) => put2("polyline", {
    points: points.map(([a, b]) => `${x(a).toFixed(2)},${y(b).toFixed(2)}`).join(" "), fill: "none", stroke: colour, "stroke-width": width, "stroke-dasharray": dash,
  });
  line([[low, 0], [high, 0]], theme.muted, 1);
  line([[0, low], [0, high]], theme.muted, 1);
  const small = { fill: theme.text, "font-size": 13 };
  put2("text", { ...small, x: S - PAD, y: y(0) + 16, "text-anchor": "end" }, "w₁");
  put2("text", { ...small, x: x(0) - 8, y: PAD, "text-anchor": "end" }, "w₂");
  // Level lines of the loss: in the frame of its axes, the diagonals, they are ellipses.
  for (const level of [0.02, 0.1, 0.25, 0.5, 0.9, 1.4]) {
    const points = Array.from({ length: 73 }, (_, i) => {
      const turn = (i * Math.PI) / 36, long = Math.sqrt((2 * level) / (1 - rho)), wide = Math.sqrt((2 * level) / (1 + rho));
      const [u, v] = [wide * Math.cos(turn), long * Math.sin(turn)];
      return [m[0] + (u + v) / Math.SQRT2, m[1] + (u - v) / Math.SQRT2];
    });
    line(points, theme.line, 1.5);
  }
  const last = rounds[rounds.length - 1], level = last.norms.reduce((sum, norm, g) => sum + last.alpha[g] * norm, 0);
  if (level > 1e-9) {
    const corners = grouping === "separate"
      ? [[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]].map(([a, b]) => [(a * level) / last.alpha[0], (b * level) / last.alpha[1]])
      : Array.from({ length: 73 }, (_, i) => [(level / last.alpha[0]) * Math.cos((i * Math.PI) / 36), (level / last.alpha[0]) * Math.sin((i * Math.PI) / 36)]);
    const clip = (value) => Math.max(low * 3, Math.min(high * 3, value));
    line(corners.map(([a, b]) => [clip(a), clip(b)]), theme.block, 2, "6 4");
  }
  rounds.forEach((round, i) => line(round.path, i === rounds.length - 1 ? theme.dense : theme.muted, i === rounds.length - 1 ? 3 : 1.5));
  rounds.slice(0, -1).forEach((round) => put2("circle", { cx: x(round.w[0]), cy: y(round.w[1]), r: 4, fill: theme.ground, stroke: theme.muted, "stroke-width": 2 }));
  put2("path", { d: `M${x(m[0]) - 6},${y(m[1])}h12M${x(m[0])},${y(m[1]) - 6}v12`, stroke: theme.text, "stroke-width": 2 });
  put2("text", { ...small, x: x(m[0]) + 8, y: y(m[1]) - 8 }, "without penalty");
  put2("circle", { cx: x(last.w[0]), cy: y(last.w[1]), r: 7, fill: theme.dense, stroke: theme.ground, "stroke-width": 1.5 });
}

function build(model, root) {
  const { rho } = model.get("data");
  const groupings = [["separate", "one weight each"], ["together", "both in one"]];
  const grouping = menu("Groups", groupings, model.get("grouping"), (name) => put(model, "grouping", name));
  const number = (label, name, min, max, step, digits) => slider(label, { min, max, step, value: model.get(name) }, (value) => value.toFixed(digits), (value) => put(model, name, value));
  const sliders = {
    rounds: number("Refreshes of α", "rounds", 0, 8, 1, 0), lam: number("λ", "lam", 0, 1.5, 0.01, 2),
    first: number("First weight without penalty", "first", 0, 2.4, 0.05, 2), second: number("Second weight without penalty", "second", 0, 2.4, 0.05, 2),
  };
  const eps = slider("ε", { min: -3, max: 0, step: 0.05, value: Math.log10(model.get("eps")) }, (power) => short(10 ** power), (power) => put(model, "eps", 10 ** power));
  const svg = node("svg", { viewBox: `0 0 ${S} ${S}`, role: "img", width: "100%" }), body = node("tbody");
  svg.style.cssText = "overflow:hidden;max-height:30rem";
  const heads = ["round", "w₁", "w₂", "α", "F"];
  const table = node("table", {}, node("thead", {}, node("tr", {}, ...heads.map((name) => node("th", { scope: "col" }, name)))), body);
  const note = node("p", { class: "bpw-note" }, "Grey: where the loss has one value, and earlier rounds. Dashed: where the penalty has one value. Blue: the path of the last round. F is the loss plus λ Σ log(norm + ε), which no round raises.");
  const holder = node("div", { tabindex: 0, role: "group", "aria-label": "What each round gave" });
  holder.style.overflowX = "auto";
  holder.append(table);
  root.append(node("div", { class: "bpw-controls" }, grouping.box, ...Object.values(sliders).map(({ box }) => { box.classList.remove("bpw-wide"); return box; }), (eps.box.classList.remove("bpw-wide"), eps.box)),
    node("div", { class: "bpw-pair" }, node("figure", {}, svg, note), holder));
  const say = spoken(root);
  const schedule = eachFrame(root, () => {
    const setting = Object.fromEntries(["first", "second", "lam", "eps", "rounds", "grouping"].map((name) => [name, model.get(name)]));
    const rounds = solve({ ...setting, rho }), last = rounds[rounds.length - 1];
    draw(svg, colours(root), model, rounds, rho);
    body.replaceChildren(...rounds.map((round, i) => {
      const cells = [round.w[0].toFixed(3), round.w[1].toFixed(3), round.alpha.map(short).join(", "), round.objective.toFixed(3)];
      return node("tr", {}, node("th", { scope: "row" }, String(i)), ...cells.map((words) => node("td", {}, words)));
    }));
    const gone = last.norms.filter((norm) => norm === 0).length;
    const words = `After ${setting.rounds} refreshes w is ${last.w.map((value) => value.toFixed(3)).join(", ")}; ${gone} of ${last.norms.length} groups are exactly zero; α is ${last.alpha.map(short).join(", ")}.`;
    svg.setAttribute("aria-label", `The plane of two weights. Without penalty w is ${short(setting.first)}, ${short(setting.second)}. ${words}`);
    say(words);
    root.figures = { w: last.w, alpha: last.alpha, loss: last.loss, objective: last.objective, path: last.path };
  });
  const controls = guarded(root, () => {
    grouping.input.value = model.get("grouping");
    for (const [name, made] of Object.entries(sliders)) made.put(model.get(name));
    eps.put(Math.log10(model.get("eps")));
    schedule();
  });
  controls();
  const ends = [follow(model, ["first", "second", "lam", "eps", "rounds", "grouping"], controls), onTheme(controls)];
  return () => ends.forEach((end) => end());
}

export default explorer("Reweighting explorer: two weights under a penalty that is weighed anew", build);
