import { node, menu, slider, spoken, colours, onTheme, follow, put, count, percent, short, groupShape, rooflineMs, guarded, eachFrame, explorer } from "./common.js";

// Text of 16 in 480 is 9 pixels where a phone draws the plot 280 pixels wide.
const W = 480, H = 320, LEFT = 78, RIGHT = 14, TOP = 14, BASE = 58, TEXT = 16;

/** Operations and bytes of one product, dense and sparse, and what the roofline allows for each. */
export function predict(shape, structure, tokens, density, machine, threads) {
  const [M, N] = shape, [r, c] = groupShape(structure, M, N), R = Math.ceil(M / r), C = Math.ceil(N / c);
  const kept = density * R * C, elements = density * M * N, moved = 4 * tokens * (M + N);
  const one = threads === "one", peak = one ? machine.peak_core : machine.peak_all;
  const bandwidth = one ? machine.bandwidth_core : machine.bandwidth_all;
  const at = (flops, traffic) => {
    const ms = rooflineMs(flops, traffic, peak, bandwidth);
    return { flops, bytes: traffic, intensity: flops / traffic, gflops: flops / ms / 1e6, ms };
  };
  const dense = at(2 * tokens * M * N, 4 * M * N + moved);
  const sparse = at(2 * tokens * elements, kept * r * c * 4 + kept * 4 + (R + 1) * 8 + moved);
  return { dense, sparse, peak, bandwidth, ridge: peak / bandwidth, speed: dense.ms / sparse.ms };
}

/** The density at which the roofline gives sparse and dense the same time: 1 where sparse is never slower. */
export function breakEven(shape, structure, tokens, machine, threads) {
  const slower = (density) => predict(shape, structure, tokens, density, machine, threads).speed < 1;
  if (!slower(1)) return 1;
  let low = 0, high = 1;
  for (let step = 0; step < 60; step += 1) {
    const middle = (low + high) / 2;
    if (slower(middle)) high = middle; else low = middle;
  }
  return (low + high) / 2;
}

const log = (value, low, high) => (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low));

function axes(title, xWords, yWords) {
  const svg = node("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", width: "100%" });
  const figure = node("figure", {}, node("figcaption", {}, title), svg);
  return { svg, figure, xWords, yWords };
}

function scene(chart, theme, label, xs, ys, xTicks, yTicks, logX, logY) {
  const { svg } = chart;
  const x = (value) => LEFT + (W - LEFT - RIGHT) * (logX ? log(value, ...xs) : (value - xs[0]) / (xs[1] - xs[0]));
  const y = (value) => H - BASE - (H - BASE - TOP) * (logY ? log(value, ...ys) : (value - ys[0]) / (ys[1] - ys[0]));
  svg.replaceChildren();
  svg.setAttribute("aria-label", label);
  const put = (tag, attributes, ...words) => svg.append(node(tag, attributes, ...words));
  const small = { fill: theme.text, "font-size": TEXT };
  for (const tick of xTicks) {
    put("line", { x1: x(tick), x2: x(tick), y1: TOP, y2: H - BASE, stroke: theme.line });
    put("text", { ...small, x: x(tick), y: H - BASE + 20, "text-anchor": "middle" }, String(Number(tick.toPrecision(3))));
  }
  for (const tick of yTicks) {
    put("line", { x1: LEFT, x2: W - RIGHT, y1: y(tick), y2: y(tick), stroke: theme.line });
    put("text", { ...small, x: LEFT - 5, y: y(tick) + 5, "text-anchor": "end" }, String(Number(tick.toPrecision(3))));
  }
  put("text", { ...small, x: (LEFT + W - RIGHT) / 2, y: H - 8, "text-anchor": "middle" }, chart.xWords);
  put("text", { ...small, x: 16, y: (TOP + H - BASE) / 2, "text-anchor": "middle", transform: `rotate(-90 16 ${(TOP + H - BASE) / 2})` }, chart.yWords);
  const line = (points, colour, dash) => put("polyline", {
    points: points.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash,
  });
  const mark = (a, b, colour, square, words, left) => {
    if (square) put("rect", { x: x(a) - 6, y: y(b) - 6, width: 12, height: 12, fill: colour, stroke: theme.ground });
    else put("circle", { cx: x(a), cy: y(b), r: 7, fill: colour, stroke: theme.ground });
    if (words) {
      const end = left || x(a) > W - 90, aside = end ? -11 : 11;
      put("text", { ...small, x: x(a) + aside, y: y(b) + (left ? 24 : -10), "text-anchor": end ? "end" : "start", "font-weight": 600 }, words);
    }
  };
  return { x, y, put, line, mark, small };
}

const powers = (low, high, base = 10) => {
  const found = [];
  for (let power = Math.ceil(Math.log(low) / Math.log(base) - 1e-9); base ** power <= high * 1.000001; power += 1) found.push(base ** power);
  return found;
};

function drawRoof(chart, theme, found, machine) {
  const low = Math.min(1, found.dense.intensity, found.sparse.intensity) / 2, high = Math.max(400, found.dense.intensity * 3);
  const bottom = Math.min(low * found.bandwidth, found.sparse.gflops) * 0.8, top = found.peak * 2;
  const words = `Roofline of ${machine.name}: ${short(found.peak)} GFLOP/s, ${short(found.bandwidth)} GB/s. Dense: ${short(found.dense.intensity)} FLOP per byte, sparse: ${short(found.sparse.intensity)}.`;
  const drawn = scene(chart, theme, words, [low, high], [bottom, top], powers(low, high), powers(bottom, top), true, true);
  drawn.line([[low, low * found.bandwidth], [found.ridge, found.peak], [high, found.peak]], theme.ceiling);
  drawn.mark(found.dense.intensity, found.dense.gflops, theme.dense, false, "dense", found.dense.intensity < found.sparse.intensity);
  drawn.mark(found.sparse.intensity, found.sparse.gflops, theme.block, true, "sparse", found.dense.intensity >= found.sparse.intensity);
}

function drawTime(chart, theme, found, curve, measured, density, even) {
  const most = Math.max(found.dense.ms * 1.6, ...curve.map(([, ms]) => ms), ...(measured ? measured.points.map((p) => p.q3) : []), measured ? measured.dense : 0);
  const step = 10 ** Math.floor(Math.log10(most / 2)), ticks = [];
  const every = most / step > 5 ? 2 * step : step;
  for (let at = 0; at <= most; at += every) ticks.push(at);
  const words = `Least time against density: dense ${short(found.dense.ms)} ms, sparse at density ${percent(density)} ${short(found.sparse.ms)} ms; the lines cross at density ${percent(even)}.`;
  const drawn = scene(chart, theme, words, [0, 1], [0, most], [0, 0.2, 0.4, 0.6, 0.8, 1], ticks, false, false);
  drawn.line([[0, found.dense.ms], [1, found.dense.ms]], theme.dense, "6 4");
  drawn.line(curve, theme.block);
  drawn.put("line", { x1: drawn.x(even), x2: drawn.x(even), y1: TOP, y2: H - BASE, stroke: theme.ceiling, "stroke-dasharray": "2 3", "stroke-width": 2 });
  drawn.mark(density, found.sparse.ms, theme.block, true);
  if (!measured) return;
  drawn.line([[0, measured.dense], [1, measured.dense]], theme.accent, "6 4");
  for (const point of measured.points) {
    drawn.put("line", { x1: drawn.x(point.density), x2: drawn.x(point.density), y1: drawn.y(point.q1), y2: drawn.y(point.q3), stroke: theme.accent, "stroke-width": 3 });
    drawn.put("circle", { cx: drawn.x(point.density), cy: drawn.y(point.ms), r: 4, fill: theme.accent });
  }
  drawn.put("line", { x1: drawn.x(measured.break_even), x2: drawn.x(measured.break_even), y1: TOP, y2: H - BASE, stroke: theme.accent, "stroke-dasharray": "2 3", "stroke-width": 2 });
}

function build(model, root) {
  const data = () => model.get("data"), { machines, shapes, structures } = data();
  const positions = 60, densityAt = (position) => 100 ** (position / positions - 1);
  const position = (density) => Math.round(positions * (1 + Math.log(density) / Math.log(100)));
  const machine = menu("Machine", machines.map(({ name }) => name), model.get("machine"), (name) => put(model, "machine", name));
  const threads = menu("Threads", [["one", "one"], ["all", "all cores"]], model.get("threads"), (name) => put(model, "threads", name));
  const shape = menu("Layer (outputs × inputs)", shapes.map((text) => [text, text.replace("x", " × ")]), model.get("shape"), (text) => put(model, "shape", text));
  const structure = menu("Structure", Object.keys(structures), model.get("structure"), (text) => put(model, "structure", text));
  const tokens = slider("Tokens", { min: 0, max: 12, step: 1, value: Math.log2(model.get("tokens")) }, (power) => count(2 ** power), (power) => put(model, "tokens", 2 ** power));
  const density = slider("Density (the slider is logarithmic)", { min: 0, max: positions, step: 1, value: position(model.get("density")) }, (at) => percent(densityAt(at)), (at) => put(model, "density", densityAt(at)));
  const roof = axes("What the machine allows", "FLOP per byte (log)", "GFLOP/s (log)");
  const time = axes("Least time against density", "density", "ms");
  const rows = ["FLOPs", "bytes moved", "FLOP per byte", "limit", "at least, ms"];
  const cells = rows.map(() => [node("td"), node("td")]);
  const table = node("table", {},
    node("thead", {}, node("tr", {}, ...["", "dense", "sparse"].map((name) => node("th", { scope: "col" }, name)))),
    node("tbody", {}, ...rows.map((name, i) => node("tr", {}, node("th", { scope: "row" }, name), ...cells[i]))));
  const legend = node("p", { class: "bpw-note" });
  root.append(node("div", { class: "bpw-controls" }, machine.box, threads.box, shape.box, structure.box, tokens.box, density.box),
    node("div", { class: "bpw-pair" }, roof.figure, time.figure), legend, table);
  const say = spoken(root);
  const schedule = eachFrame(root, () => {
    const theme = colours(root), chosen = machines.find(({ name }) => name === model.get("machine"));
    const sides = model.get("shape").split("x").map(Number), text = model.get("structure"), many = model.get("tokens");
    const what = [sides, structures[text], many], where = [chosen, model.get("threads")];
    const found = predict(...what, model.get("density"), ...where), even = breakEven(...what, ...where);
    const curve = Array.from({ length: 101 }, (_, i) => [i / 100, predict(...what, Math.max(i / 100, 1e-4), ...where).sparse.ms]);
    const measured = data().measured.find((m) => m.machine === chosen.name && m.shape === model.get("shape") && m.structure === text && m.tokens === many && m.threads === model.get("threads"));
    drawRoof(roof, theme, found, chosen);
    drawTime(time, theme, found, curve, measured, model.get("density"), even);
    [found.dense, found.sparse].forEach((of, side) => {
      const limit = of.intensity < found.ridge ? "memory" : "arithmetic";
      [count(of.flops), count(of.bytes), short(of.intensity), limit, short(of.ms)].forEach((words, row) => { cells[row][side].textContent = words; });
    });
    const known = [...new Set(data().measured.map((m) => m.machine))];
    const others = known.length ? ` No measurement of this setting is at hand; others were made on ${known.join("; ")}.` : "";
    const seen = measured ? ` Points and the second dashed line: measured there, medians with quartiles; measured break-even at density ${percent(measured.break_even)}.` : others;
    legend.textContent = `Dashed: dense. Dotted: break-even, the density at which both take the same time. Square: the setting.${seen}`;
    say(`At density ${percent(model.get("density"))} the roofline allows ${found.speed.toFixed(2)} times dense: at least ${short(found.sparse.ms)} ms in place of ${short(found.dense.ms)}. Break-even by the roofline at density ${percent(even)}${measured ? `, measured at ${percent(measured.break_even)}` : ""}.`);
    root.figures = { dense_ms: found.dense.ms, sparse_ms: found.sparse.ms, speed: found.speed, intensity: found.sparse.intensity, break_even: even, measured_break_even: measured ? measured.break_even : null };
  });
  const controls = guarded(root, () => {
    machine.input.value = model.get("machine");
    threads.input.value = model.get("threads");
    shape.input.value = model.get("shape");
    structure.input.value = model.get("structure");
    tokens.put(Math.log2(model.get("tokens")));
    density.put(position(model.get("density")));
    schedule();
  });
  controls();
  const ends = [follow(model, ["machine", "threads", "shape", "structure", "tokens", "density", "data"], controls), onTheme(controls)];
  return () => ends.forEach((end) => end());
}

export default explorer("Roofline explorer: how fast a layer could be on a measured machine", build);
