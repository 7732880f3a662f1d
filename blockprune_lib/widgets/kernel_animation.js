import { node, menu, slider, spoken, colours, onTheme, follow, put, guarded, eachFrame, explorer } from "./common.js";

const CELL = 22, GAP = 30;

function grid(svg, theme, x0, y0, rows, columns, title, shade) {
  svg.append(node("text", { x: x0, y: y0 - 8, fill: theme.text, "font-size": 13, "font-weight": 600 }, title));
  for (let i = 0; i < rows; i += 1) {
    for (let j = 0; j < columns; j += 1) {
      const { fill, ring } = shade(i, j), x = x0 + j * CELL, y = y0 + i * CELL;
      svg.append(node("rect", { x: x + 1, y: y + 1, width: CELL - 2, height: CELL - 2, fill, stroke: ring ? theme.text : theme.line, "stroke-width": ring ? 2.5 : 0.7 }));
      // Touched cells carry a dot too: colour alone must not tell.
      if (ring) svg.append(node("circle", { cx: x + CELL / 2, cy: y + CELL / 2, r: 3.5, fill: theme.text }));
    }
  }
}

function draw(svg, theme, data, plan, at) {
  const { rows, columns, tokens } = data, step = plan.steps[at];
  const touched = new Set(step.weights.map(([i, j]) => i * columns + j)), inputs = new Set(step.inputs), outputs = new Set(step.outputs);
  const before = new Set(), written = new Set();
  plan.steps.slice(0, at).forEach((old) => { old.weights.forEach(([i, j]) => before.add(i * columns + j)); old.outputs.forEach((i) => written.add(i)); });
  svg.replaceChildren();
  // W with x above it and y to its right: inputs stand over their columns, outputs beside their rows.
  const xTop = 24, wTop = xTop + tokens * CELL + GAP, yLeft = columns * CELL + GAP;
  svg.setAttribute("viewBox", `0 0 ${yLeft + tokens * CELL + 4} ${wTop + rows * CELL + 4}`);
  grid(svg, theme, 2, xTop, tokens, columns, `x: ${tokens} tokens × ${columns} inputs`, (_, j) => ({ fill: inputs.has(j) ? theme.unstructured : theme.ground, ring: inputs.has(j) }));
  grid(svg, theme, 2, wTop, rows, columns, "W", (i, j) => {
    const key = i * columns + j;
    if (touched.has(key)) return { fill: theme.block, ring: true };
    return { fill: plan.keep[i][j] ? (before.has(key) ? theme.muted : theme.line) : theme.ground, ring: false };
  });
  grid(svg, theme, yLeft, wTop, rows, tokens, "y", (i) => ({ fill: outputs.has(i) ? theme.dense : written.has(i) ? theme.line : theme.ground, ring: outputs.has(i) }));
}

function build(model, root) {
  const data = model.get("data"), names = Object.keys(data.plans);
  const plan = () => data.plans[model.get("structure")], last = () => plan().steps.length - 1;
  const clamp = () => Math.max(0, Math.min(model.get("step"), last()));
  const structure = menu("Structure", names, model.get("structure"), (name) => { put(model, "step", 0); put(model, "structure", name); });
  const step = slider("Step", { min: 0, max: last(), step: 1, value: model.get("step") }, (at) => `${at + 1} of ${last() + 1}`, (at) => { stop(); put(model, "step", at); });
  const back = node("button", { type: "button" }, "Back"), next = node("button", { type: "button" }, "Step"), play = node("button", { type: "button", "aria-pressed": "false" }, "Play");
  const buttons = node("div", { class: "bpw-wide", role: "group", "aria-label": "Steps" }, back, " ", next, " ", play);
  const svg = node("svg", { role: "img", width: "100%" }), words = node("p");
  svg.style.maxWidth = "30rem";
  root.append(node("div", { class: "bpw-controls" }, structure.box, step.box, buttons), node("figure", {}, svg), words);
  root.append(node("p", { class: "bpw-note" }, "Marked with a dot: what this step touches. Grey: kept, and a stronger grey once it was used. Empty: removed, not stored. A small matrix and vectors of four numbers; real kernels do the same with 8 or 16."));
  const say = spoken(root);
  const calm = window.matchMedia && window.matchMedia("(prefers-reduced-motion: reduce)");
  let timer = 0;
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
    root.querySelector(".bpw-said")?.setAttribute("aria-live", "polite");
  }
  const go = (by) => put(model, "step", Math.max(0, Math.min(last(), clamp() + by)));
  back.addEventListener("click", () => { stop(); go(-1); });
  next.addEventListener("click", () => { stop(); go(1); });
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (clamp() === last()) put(model, "step", 0);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    root.querySelector(".bpw-said").setAttribute("aria-live", "off"); // a screen reader could not keep up
    timer = setInterval(() => { if (clamp() === last()) stop(); else go(1); }, calm && calm.matches ? 1600 : 500);
  });
  const schedule = eachFrame(root, () => {
    const at = clamp(), now = plan().steps[at], { tokens } = data;
    draw(svg, colours(root), data, plan(), at);
    back.disabled = at === 0;
    next.disabled = at === last();
    const loads = now.weights.length + now.inputs.length * tokens + now.indices + now.sums, work = now.weights.length * tokens;
    const several = (count, one, more) => `${count} ${count === 1 ? one : more}`;
    const read = `${several(now.weights.length, "weight", "weights")}, ${several(now.inputs.length, "input", "inputs")} of ${tokens} tokens, ${several(now.indices, "index", "indices")}`;
    const ends = now.sums ? `${now.sums} sums read or written` : "no sum read or written";
    const sentence = `Step ${at + 1} of ${last() + 1}, ${model.get("structure")}: reads ${read}; ${ends}. In all ${several(work, "multiply-add", "multiply-adds")} for ${several(loads, "number", "numbers")} moved, ${(work / loads).toFixed(2)} for each.`;
    const total = plan().steps.reduce((sum, one) => ({ work: sum.work + one.weights.length * tokens, loads: sum.loads + one.weights.length + one.inputs.length * tokens + one.indices + one.sums }), { work: 0, loads: 0 });
    words.textContent = `${now.how} Over the whole product: ${(total.work / total.loads).toFixed(2)} multiply-adds for each number moved.`;
    svg.setAttribute("aria-label", sentence);
    say(sentence);
    root.figures = { step: at, steps: last() + 1, weights: now.weights, inputs: now.inputs, outputs: now.outputs, work, loads };
  });
  const controls = guarded(root, () => {
    structure.input.value = model.get("structure");
    step.input.max = last();
    step.put(clamp());
    schedule();
  });
  controls();
  const ends = [follow(model, ["structure", "step"], controls), onTheme(controls), stop];
  return () => ends.forEach((end) => end());
}

export default explorer("Kernel animation: what one step of a micro-kernel touches", build);
