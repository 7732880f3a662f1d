import { node, menu, slider, spoken, colours, onTheme, follow, put, bytes, count, percent, short, rateWords, groupShape, keptCount, rooflineMs, cividis, pixel, guarded, eachFrame, explorer } from "./common.js";

const SCOPES = [["matrix", "this matrix"], ["strips", "each strip of blocks"], ["model", "the whole model"]];
const BINS = 48, PALETTE = cividis();

/** Scores, sizes and ranks of all groups of one matrix in one state, under one structure. */
export function prepare(matrix, state, structure) {
  const [M, N] = matrix.shape, [r, c] = groupShape(structure, M, N);
  const R = Math.ceil(M / r), C = Math.ceil(N / c), n = R * C;
  const { scale } = matrix.states[state], codes = bytes(matrix.states[state].codes);
  const squares = new Float64Array(n), value = new Float64Array(256);
  for (let code = 0; code < 256; code += 1) value[code] = (scale * (code / 255) ** 2) ** 2;
  for (let i = 0; i < M; i += 1) {
    const first = Math.floor(i / r) * C;
    for (let j = 0, at = i * N; j < N; j += 1, at += 1) squares[first + Math.floor(j / c)] += value[codes[at]];
  }
  const scores = new Float64Array(n), sizes = new Uint32Array(n);
  let top = 0;
  for (let g = 0; g < n; g += 1) {
    const rows = Math.min(r, M - Math.floor(g / C) * r), columns = Math.min(c, N - (g % C) * c);
    sizes[g] = rows * columns;
    scores[g] = Math.sqrt(squares[g] / sizes[g]);
    if (scores[g] > top) top = scores[g];
  }
  const total = squares.reduce((sum, square) => sum + square, 0);
  return { M, N, r, c, R, C, n, squares, scores, sizes, total, top, order: null, alone: null, strips: null, sums: null };
}

/** Groups from the largest score to the smallest; of equal ones the first comes first. */
function ordered(scores) {
  const order = new Uint32Array(scores.length);
  for (let g = 0; g < order.length; g += 1) order[g] = g;
  // Few different values, as single weights of 8 bits have, are counted and not compared.
  const values = new Set();
  for (let g = 0; g < scores.length && values.size <= 256; g += 1) values.add(scores[g]);
  if (values.size > 256) return order.sort((a, b) => scores[b] - scores[a] || a - b);
  const sorted = [...values].sort((a, b) => b - a), place = new Map(sorted.map((score, i) => [score, i]));
  const starts = new Uint32Array(sorted.length + 1);
  for (let g = 0; g < scores.length; g += 1) starts[place.get(scores[g]) + 1] += 1;
  for (let i = 1; i < starts.length; i += 1) starts[i] += starts[i - 1];
  for (let g = 0; g < scores.length; g += 1) order[starts[place.get(scores[g])]++] = g;
  return order;
}

/** The place of each group in its ranking: of the matrix, or of its strip. */
function places(prepared, byColumns) {
  prepared.order ||= ordered(prepared.scores);
  const { order, C, R, n } = prepared, ranks = new Uint32Array(n);
  if (byColumns === null) {
    for (let place = 0; place < n; place += 1) ranks[order[place]] = place;
    return ranks;
  }
  const seen = new Uint32Array(byColumns ? C : R);
  for (let place = 0; place < n; place += 1) {
    const g = order[place], strip = byColumns ? g % C : Math.floor(g / C);
    ranks[g] = seen[strip]++;
  }
  return ranks;
}

/** Running sums along one ranking: what the first k groups hold, and how many of them each bin of the histogram has. */
function running(prepared) {
  const { order, squares, sizes, n } = prepared, energy = new Float64Array(n + 1), elements = new Float64Array(n + 1);
  for (let place = 0; place < n; place += 1) {
    energy[place + 1] = energy[place] + squares[order[place]];
    elements[place + 1] = elements[place] + sizes[order[place]];
  }
  return { energy, elements };
}

/** Which groups stay at a setting: those whose rank is below k; and the figures that follow. */
export function choose(prepared, byColumns, rate, scope, modelCount, limits) {
  const { M, N, r, c, R, C, n, squares, scores, sizes, total } = prepared;
  const strips = scope === "strips";
  if (strips) prepared.strips ||= places(prepared, byColumns);
  else prepared.alone ||= places(prepared, null);
  const ranks = strips ? prepared.strips : prepared.alone;
  const k = strips ? keptCount(byColumns ? R : C, rate) : scope === "model" ? modelCount : keptCount(n, rate);
  let kept = 0, energy = 0, elements = 0, threshold = Infinity;
  if (strips) {
    for (let g = 0; g < n; g += 1) {
      if (ranks[g] < k) {
        kept += 1; energy += squares[g]; elements += sizes[g];
        if (scores[g] < threshold) threshold = scores[g];
      }
    }
  } else {
    // One ranking: sums that were made once serve every rate, and a drag costs only what it repaints.
    prepared.sums ||= running(prepared);
    kept = k; energy = prepared.sums.energy[k]; elements = prepared.sums.elements[k];
    threshold = scores[prepared.order[k - 1]];
  }
  const stored = kept * r * c * 4 + kept * 4 + (R + 1) * 8, moved = 4 * limits.tokens * (M + N);
  const dense = rooflineMs(2 * limits.tokens * M * N, 4 * M * N + moved, limits.peak, limits.bandwidth);
  const sparse = rooflineMs(2 * limits.tokens * elements, stored + moved, limits.peak, limits.bandwidth);
  const figures = {
    kept, groups: n, density: elements / (M * N), bytes: stored, dense_bytes: 4 * M * N,
    energy: total ? energy / total : 1, speed: dense / sparse,
  };
  return { ranks, k, threshold, figures, order: strips ? null : prepared.order };
}

function panel(name) {
  const map = node("canvas", { role: "img" }), lines = node("canvas", { "aria-hidden": "true" });
  lines.style.cssText = "position:absolute;inset:0;width:100%;height:100%;pointer-events:none";
  map.style.cssText = "width:100%;height:100%;image-rendering:pixelated";
  const holder = node("div", {}, map, lines);
  const histogram = node("canvas", { role: "img", width: 480, height: 120 });
  histogram.style.cssText = "width:100%;height:6rem;margin-top:0.4rem";
  const box = node("figure", {}, node("figcaption", {}, name), holder, histogram);
  return { name, box, map, lines, holder, histogram };
}

function paintMap(panelOf, prepared, chosen, top, ground) {
  const { R, C, n, scores } = prepared, { map } = panelOf;
  if (panelOf.levelsOf !== prepared || panelOf.top !== top) {
    panelOf.levels = new Uint8Array(n);
    for (let g = 0; g < n; g += 1) panelOf.levels[g] = top ? Math.min(255, Math.round(255 * Math.sqrt(scores[g] / top))) : 0;
    panelOf.levelsOf = prepared;
    panelOf.top = top;
    map.width = C;
    map.height = R;
    panelOf.image = new ImageData(C, R);
    panelOf.pixels = new Uint32Array(panelOf.image.data.buffer);
  }
  const { pixels, levels } = panelOf, { ranks, k, order } = chosen, gone = pixel(ground);
  const was = panelOf.painted, same = was && was.ranks === ranks && was.levels === levels && was.gone === gone;
  if (same && order && Math.abs(k - was.k) < n / 3) {
    // Only what crossed the threshold since the last time.
    for (let place = was.k; place < k; place += 1) pixels[order[place]] = PALETTE[levels[order[place]]];
    for (let place = k; place < was.k; place += 1) pixels[order[place]] = gone;
  } else for (let g = 0; g < n; g += 1) pixels[g] = ranks[g] < k ? PALETTE[levels[g]] : gone;
  panelOf.painted = { ranks, levels, gone, k };
  map.getContext("2d").putImageData(panelOf.image, 0, 0);
}

function shapeMap(panelOf, prepared, colour) {
  const { M, N, r, c, R, C } = prepared, ratio = Math.min(1.4, Math.max(0.4, M / N));
  panelOf.holder.style.cssText = `position:relative;width:100%;aspect-ratio:${1 / ratio};overflow:hidden`;
  const width = panelOf.holder.clientWidth || 300, height = width * ratio, { lines } = panelOf;
  lines.width = Math.round(width);
  lines.height = Math.round(height);
  const wide = (width * c) / N, tall = (height * r) / M;
  // A grid of groups thinner than three pixels would hide what it divides.
  if (wide <= 3 || tall <= 3) return;
  const pen = lines.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = 0.5;
  pen.beginPath();
  for (let j = 1; j < C; j += 1) { pen.moveTo(j * wide, 0); pen.lineTo(j * wide, height); }
  for (let i = 1; i < R; i += 1) { pen.moveTo(0, i * tall); pen.lineTo(width, i * tall); }
  pen.stroke();
}

function paintHistogram(panelOf, prepared, chosen, top, theme) {
  const { histogram } = panelOf, { scores, n } = prepared, { ranks, k, threshold, order } = chosen;
  const bin = (score) => Math.min(BINS - 1, Math.floor((BINS * score) / (top || 1)));
  if (prepared.binnedTo !== top) {
    prepared.bins = new Float64Array(BINS);
    for (let g = 0; g < n; g += 1) prepared.bins[bin(scores[g])] += 1;
    prepared.binnedTo = top;
  }
  const all = prepared.bins, kept = new Float64Array(BINS);
  if (order) {
    // The k largest fill the bins from the right.
    for (let at = BINS - 1, left = k; at >= 0 && left > 0; at -= 1) {
      kept[at] = Math.min(all[at], left);
      left -= kept[at];
    }
  } else for (let g = 0; g < n; g += 1) if (ranks[g] < k) kept[bin(scores[g])] += 1;
  // As many pixels as the screen has there: letters that are stretched cannot be read.
  const dots = window.devicePixelRatio || 1, width = histogram.clientWidth || 480, height = histogram.clientHeight || 96;
  if (histogram.width !== Math.round(width * dots)) histogram.width = Math.round(width * dots);
  if (histogram.height !== Math.round(height * dots)) histogram.height = Math.round(height * dots);
  const pen = histogram.getContext("2d"), base = height - 16;
  pen.setTransform(dots, 0, 0, dots, 0, 0);
  const tallest = Math.sqrt(Math.max(1, ...all)), step = width / BINS;
  pen.clearRect(0, 0, width, height);
  for (let at = 0; at < BINS; at += 1) {
    const whole = (base * Math.sqrt(all[at])) / tallest, part = all[at] ? (whole * kept[at]) / all[at] : 0;
    pen.fillStyle = theme.line;
    pen.fillRect(at * step, base - whole, step - 1, whole);
    pen.fillStyle = theme.dense;
    pen.fillRect(at * step, base - part, step - 1, part);
  }
  pen.strokeStyle = theme.block;
  pen.lineWidth = 2;
  const line = Math.min(width - 1, (width * threshold) / (top || 1));
  pen.beginPath(); pen.moveTo(line, 0); pen.lineTo(line, base); pen.stroke();
  pen.fillStyle = theme.text;
  pen.font = "12px sans-serif";
  pen.textAlign = "left"; pen.fillText("0", 0, height - 3);
  pen.textAlign = "right"; pen.fillText(short(top), width, height - 3);
  pen.textAlign = "center"; pen.fillText("group score", width / 2, height - 3);
}

const ROWS = [
  ["kept groups", (f) => `${count(f.kept)} of ${count(f.groups)}`], ["density", (f) => percent(f.density, 2)],
  ["bytes with indices", (f) => `${count(f.bytes)} of ${count(f.dense_bytes)}`],
  ["squared norm kept", (f) => percent(f.energy)], ["roofline allows, see below", (f) => `${f.speed.toFixed(2)}× dense`],
];

function build(model, root) {
  const data = () => model.get("data");
  const { rates, kinds, sizes, structures, states, limits, layers } = data();
  const nearest = (rate) => rates.reduce((best, other, i) => (Math.abs(Math.log(other / rate)) < Math.abs(Math.log(rates[best] / rate)) ? i : best), 0);
  const kindOf = () => model.get("structure").split(":")[0];
  const inWords = (name) => name.replace(/\.weight$/, "").replace(/^.*?layer\.(\d+)\./, "layer $1: ");
  const layer = menu("Matrix", layers.map((name) => [name, inWords(name)]), model.get("layer"), (name) => put(model, "layer", name));
  const used = {}; // the block size that each kind had last
  const kind = menu("Structure", kinds, kindOf(), (name) => put(model, "structure", sizes[name].length ? `${name}:${used[name] || sizes[name][Math.floor(sizes[name].length / 2)]}` : name));
  const size = menu("Block size", [], null, (side) => put(model, "structure", `${kindOf()}:${side}`));
  const scope = menu("Rank within", SCOPES, model.get("scope"), (name) => put(model, "scope", name));
  const rate = slider("Compression rate", { min: 0, max: rates.length - 1, step: 1, value: nearest(model.get("rate")) },
    (position) => rateWords(rates[position]), (position) => put(model, "rate", rates[position]));
  const panels = states.map(panel), table = node("table"), pair = node("div", { class: "bpw-pair" }, ...panels.map((p) => p.box));
  const scaleBar = node("p", { class: "bpw-note" });
  root.append(node("div", { class: "bpw-controls bpw-two" }, layer.box, kind.box, size.box, scope.box, rate.box), pair, scaleBar, table);
  const rows = limits.shown ? ROWS : ROWS.slice(0, -1); // the last is the roofline's
  const say = spoken(root), cells = rows.map(() => states.map(() => node("td")));
  table.append(
    node("thead", {}, node("tr", {}, node("th", { scope: "col" }, ""), ...states.map((name) => node("th", { scope: "col" }, name)))),
    node("tbody", {}, ...rows.map(([name], i) => node("tr", {}, node("th", { scope: "row" }, name), ...cells[i]))),
  );
  root.append(node("p", { class: "bpw-note" }, `Real weights, rounded to 8 bits for this page. Squared norm kept: the sum of the squares of the weights that stay, as a share of all. Bars: how many groups have each score, by the square root of their number; blue: kept; line: the smallest kept score. A group's score is the root mean square of its weights.${limits.shown ? ` Roofline allows: the gain for ${limits.tokens} tokens on ${limits.machine} if the dense product and what is left of it both took their least time, from peak and memory alone. It counts the bytes of the indices, and nothing for following them: single weights come nowhere near it. Beside a slower dense product a measured ratio can be larger.` : ""}`));

  let prepared = [], theme = colours(root), key = "";
  const prepareAll = () => {
    const matrix = data().matrices[model.get("layer")], structure = model.get("structure");
    if (!matrix) return false;
    if (key !== `${model.get("layer")} ${structure}`) {
      prepared = states.map((state) => prepare(matrix, state, structures[structure]));
      key = `${model.get("layer")} ${structure}`;
      panels.forEach((p, i) => shapeMap(p, prepared[i], theme.ground));
    }
    return true;
  };
  const schedule = eachFrame(root, () => {
    if (!prepareAll()) { say(`Waiting for ${model.get("layer")}.`); return; }
    const began = performance.now(), structure = model.get("structure"), at = nearest(model.get("rate"));
    const matrix = data().matrices[model.get("layer")], byColumns = structures[structure].strips === "columns";
    const top = Math.max(...prepared.map((p) => p.top));
    const chosen = prepared.map((p, i) => choose(p, byColumns, model.get("rate"), model.get("scope"), matrix.counts[structure][states[i]][at], limits));
    chosen.forEach((made, i) => {
      paintMap(panels[i], prepared[i], made, top, theme.gone);
      paintHistogram(panels[i], prepared[i], made, top, theme);
      rows.forEach(([, words], row) => { cells[row][i].textContent = words(made.figures); });
      const { figures } = made;
      panels[i].map.setAttribute("aria-label", `${states[i]}: heat map of the group scores of ${inWords(model.get("layer"))}; ${percent(1 - figures.kept / figures.groups)} of the groups are removed.`);
      panels[i].histogram.setAttribute("aria-label", `${states[i]}: histogram of the group scores, with the threshold at ${short(made.threshold)}.`);
    });
    scaleBar.textContent = `Outputs run down, inputs across. Colour: score of a kept group, dark blue 0 to yellow ${short(top)}; grey: removed.${model.get("scope") === "model" ? " The rate holds for all matrices of the model together, so that this one keeps more than its share, or less." : ""}`;
    const { figures } = chosen[0], last = chosen[chosen.length - 1].figures;
    const more = states.length > 1 ? `; ${states[states.length - 1]}: ${percent(last.energy)}` : "";
    const [named, side] = structure.split(":"), [, words] = kinds.find(([name]) => name === named);
    say(`${words.charAt(0).toUpperCase()}${words.slice(1)}${side ? `, size ${side},` : ""} at rate ${rateWords(model.get("rate"))}: ${count(figures.kept)} of ${count(figures.groups)} groups stay, density ${percent(figures.density, 2)}; squared norm kept, ${states[0]}: ${percent(figures.energy)}${more}.`);
    root.figures = Object.fromEntries(states.map((name, i) => [name, chosen[i].figures]));
    root.repaintMs = performance.now() - began;
  });
  const controls = guarded(root, () => {
    const [name, side] = model.get("structure").split(":"), matrix = data().matrices[model.get("layer")];
    layer.input.value = model.get("layer");
    kind.input.value = name;
    scope.input.value = model.get("scope");
    rate.put(nearest(model.get("rate")));
    const fitting = sizes[name].filter((each) => !matrix || matrix.counts[`${name}:${each}`]);
    size.input.replaceChildren(...(fitting.length ? fitting : [""]).map((each) => node("option", { value: each }, each || "one size only")));
    size.input.disabled = !fitting.length;
    size.input.value = fitting.length ? side : "";
    if (side) used[name] = side;
    schedule();
  });
  controls();
  const resize = new ResizeObserver(() => {
    if (!prepared.length) return;
    panels.forEach((p, i) => shapeMap(p, prepared[i], theme.ground));
    schedule();
  });
  resize.observe(pair);
  const ends = [
    follow(model, ["layer", "structure", "rate", "scope"], controls),
    follow(model, ["data"], () => { key = ""; controls(); }),
    onTheme(() => { theme = colours(root); key = ""; schedule(); }),
    () => resize.disconnect(),
  ];
  return () => ends.forEach((end) => end());
}

export default explorer("Block explorer: which groups of a weight matrix stay at a compression rate", build);
