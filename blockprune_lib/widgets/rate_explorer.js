import { node, menu, slider, spoken, onTheme, follow, put, short, guarded, eachFrame, explorer } from "./common.js";

const LOOK = `
.bpw .bpw-rates td, .bpw .bpw-rates th { vertical-align: top; padding: 0.35rem 0.4rem; }
.bpw .bpw-rates td { width: 24%; }
.bpw .bpw-rates small { color: var(--muted); display: block; font-size: 0.85em; font-weight: 400; }
.bpw .bpw-track { position: relative; display: block; height: 0.8rem; margin-top: 0.2rem; background: var(--gone); }
.bpw .bpw-bar { position: absolute; inset: 0 auto 0 0; }
.bpw .bpw-dot { position: absolute; top: 50%; width: 0.6rem; height: 0.6rem; margin: -0.3rem 0 0 -0.3rem; border-radius: 50%;
  background: var(--text); border: 1px solid var(--ground); }
.bpw .bpw-ends { position: absolute; top: 50%; height: 2px; margin-top: -1px; background: var(--text); }
@media (max-width: 36rem) {
  .bpw .bpw-rates tr { display: grid; grid-template-columns: repeat(3, 1fr); border-bottom: 1px solid var(--line); }
  .bpw .bpw-rates th, .bpw .bpw-rates td { border: 0; padding: 0.15rem 0.25rem; width: auto; }
  .bpw .bpw-rates th:first-child { grid-column: 1 / -1; padding-top: 0.4rem; }
  .bpw .bpw-rates th small { display: inline; margin-left: 0.5rem; }
  .bpw .bpw-rates thead th:first-child { display: none; }
}
`;
const MEANING = { "Matthews correlation": "1 is perfect, 0 no better than chance; ", "mean of Pearson and Spearman": "1 is perfect, 0 no better than chance; " };
const COLOURS = { dense: "var(--dense)", layers: "var(--accent)", blocks: "var(--block)" };

/** Whether a model or a time is the one wanted; of a bench only the structure is known, not the method. */
function fits(entry, wanted) {
  const cut = entry.task ? wanted.cut : wanted.cut.split(", ")[0];
  return ["kind", "layers", "rate"].every((key) => entry[key] === wanted[key]) && entry.cut === cut;
}

/** What is recorded of a task: its cuts, the rates of a cut, and the machines on which cut and rate were timed. */
export function offersOf(data, { task, cut, rate }) {
  const models = data.models.filter((model) => model.task === task && model.kind === "blocks");
  const timed = data.times.filter((time) => ["", task].includes(time.task)), wanted = { kind: "blocks", layers: 0, rate, cut };
  const names = (times) => new Set(times.map(({ machine }) => machine));
  const blocks = names(timed.filter((time) => fits(time, wanted))), there = blocks.size ? blocks : names(timed);
  const rates = new Set(models.filter((model) => model.cut === cut).map((model) => model.rate));
  return {
    cuts: data.cuts.filter((name) => models.some((model) => model.cut === name)),
    rates: data.rates.filter((one) => one === 1 || rates.has(one)),
    machines: data.machines.map(({ name }) => name).filter((name) => there.has(name)),
  };
}

/** One row: its scores, and the fastest engine that was timed. */
function row(data, [kind, precision, engine], layers, { task, machine, cut, rate }) {
  const wanted = { kind, layers, rate: kind === "blocks" ? rate : 1, cut: kind === "blocks" ? cut : "" };
  const models = data.models.filter((model) => model.task === task && fits(model, wanted));
  let times = data.times.filter((time) => time.machine === machine && ["", task].includes(time.task) && fits(time, wanted)
    && (time.precision === precision || precision === "any"));
  if (precision === "any") times = times.filter((time) => models.some((model) => model.precision === time.precision));
  times = times.filter(({ baseline }) => baseline === (engine === "baseline"));
  const fast = times.reduce((best, time) => (best && best.times >= time.times ? best : time), null);
  const of = fast ? fast.precision : precision === "any" ? "float32" : precision;
  const model = models.find((one) => one.precision === of);
  const timed = Object.fromEntries(["times", "low", "high", "ms", "engine"].map((key) => [key, fast ? fast[key] : null]));
  return { kind, layers, precision: of, scores: model ? model.scores : [], bytes: model ? model.bytes : null, ...timed };
}

/** What is shown, from top to bottom. */
export function rowsOf(data, settings) {
  const { fewer } = data.tasks.find(({ name }) => name === settings.task);
  return data.rows.flatMap((wanted) => {
    if (wanted[0] === "layers") return fewer.map((layers) => row(data, wanted, layers, settings));
    return wanted[0] === "dense" || settings.rate > 1 ? [row(data, wanted, 0, settings)] : [];
  });
}

const mean = (numbers) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

/** Positions of the fastest row of blocks, and of what stands against it: as good, as fast, or both. */
export function verdictOf(rows) {
  const known = rows.map((one, at) => ({ ...one, at })).filter(({ scores, times }) => scores.length && times !== null)
    .map((one) => ({ ...one, score: mean(one.scores) }));
  const most = (found, key) => found.reduce((best, one) => (best && best[key] >= one[key] ? best : one), null);
  const at = (found, key) => { const one = most(found, key); return one ? one.at : null; };
  const best = most(known.filter(({ kind }) => kind === "blocks"), "times");
  if (!best) return null;
  const others = known.filter(({ kind }) => kind !== "blocks"), good = others.filter(({ score }) => score >= best.score);
  const quick = ({ high }) => high >= best.low; // slower is only what lies below with its whole interval
  return { blocks: best.at, as_good: at(good, "times"), as_fast: at(others.filter(quick), "score"), both: at(good.filter(quick), "times") };
}

/** The verdict as a sentence. */
function judged(rows, verdict, named, about, now, where) {
  const score = (one) => mean(one.scores).toFixed(3), times = (one) => `${one.times.toFixed(2)} times`;
  const name = (one) => `${rowName(one, about)}${one.kind === "dense" && one.precision === "float32" ? ` (${one.engine})` : ""}`;
  if (now.rate === 1) return `At rate 1 nothing is cut.${where.model ? "" : ` Dense in float32: ${named} ${score(rows[0])}.`}`;
  if (where.model) {
    const timed = rows.filter((one) => one.times !== null), fastest = (found) => found.reduce((best, one) => (best.times >= one.times ? best : one));
    const [blocks, others] = [timed.filter(({ kind }) => kind === "blocks"), timed.filter(({ kind }) => kind !== "blocks")];
    if (!blocks.length) return `At rate ${now.rate} the blocks of this choice were not timed on this machine.`;
    const best = fastest(blocks), rival = fastest(others);
    return `At rate ${now.rate}, times of ${where.model}'s shapes alone: blocks in ${best.precision} are ${times(best)} as fast as dense float32 in PyTorch; the fastest dense engine, ${rival.precision} (${rival.engine}), ${times(rival)}.`;
  }
  if (!verdict) return `At rate ${now.rate} the blocks of this choice were not both scored and timed on this machine.`;
  const [ours, good, fast, both] = ["blocks", "as_good", "as_fast", "both"].map((key) => (verdict[key] === null ? null : rows[verdict[key]]));
  const first = `At rate ${now.rate} (${now.cut}) blocks in ${ours.precision} are ${times(ours)} as fast and score ${score(ours)}, dense float32 ${score(rows[0])}.`;
  if (both) return `${first} A row without blocks has a mean no lower and is not shown to be slower: ${name(both)}, ${times(both)} as fast, ${score(both)}.`;
  const other = good ? `the fastest that scores no less is ${name(good)}: ${times(good)} as fast, ${score(good)}` : "none scores as much";
  const rest = fast ? `the best that is no slower, as far as the intervals tell, is ${name(fast)}: ${times(fast)}, ${score(fast)}` : "none is as fast";
  return `${first} No row without blocks is both as fast and as good: ${other}; ${rest}.`;
}

const rowName = (one, about) => (one.kind === "layers" ? `${one.layers} of ${about.layers} layers, ${one.precision}` : `${one.kind}, ${one.precision}`);
const place = (value, [low, high]) => `${Math.max(0, Math.min(100, (100 * (value - low)) / (high - low || 1)))}%`;

function cell(words, note, track) {
  return node("td", {}, words, ...(note ? [node("small", {}, note)] : []), ...(track ? [track] : []));
}

function track(value, range, colour, marks = []) {
  const bar = node("span", { class: "bpw-bar" }), box = node("span", { class: "bpw-track", "aria-hidden": "true" }, bar, ...marks);
  bar.style.width = place(value, range);
  bar.style.background = colour;
  return box;
}

function marked(kind, left, width) {
  const mark = node("span", { class: kind });
  mark.style.left = left;
  if (width) mark.style.width = width;
  return mark;
}

function draw(body, rows, about, ranges, trained) {
  body.replaceChildren(...rows.map((one) => {
    const colour = COLOURS[one.kind], missing = "not measured", untold = trained ? missing : "–";
    const score = one.scores.length ? mean(one.scores) : null;
    const seeds = `${one.scores.length} seed${one.scores.length === 1 ? "" : "s"}`;
    const dots = one.scores.map((x) => marked("bpw-dot", place(x, ranges.score)));
    const ends = one.times === null ? [] : [marked("bpw-ends", place(one.low, ranges.times), `calc(${place(one.high, ranges.times)} - ${place(one.low, ranges.times)})`)];
    const name = rowName(one, about);
    const range = one.times !== null && one.low < one.high ? `${short(one.low)}\u00a0to\u00a0${short(one.high)}, ` : "";
    const time = one.times === null ? "" : `${range}${short(one.ms)}\u00a0ms`;
    return node("tr", {}, node("th", { scope: "row" }, name, node("small", {}, one.engine || "")),
      score === null ? cell(untold) : cell(score.toFixed(3), seeds, track(score, ranges.score, colour, dots)),
      one.times === null ? cell(missing) : cell(`${one.times.toFixed(2)}×`, time, track(one.times, ranges.times, colour, ends)),
      one.bytes === null ? cell(untold) : cell(`${Math.round(one.bytes / 1e6)} MB`, "", track(one.bytes, ranges.bytes, colour)));
  }));
}

/** The largest values of a task on a machine at any rate, so that bars can be compared while the slider moves. */
function rangesOf(data, about, machine) {
  const models = data.models.filter(({ task }) => task === about.name);
  const times = data.times.filter((time) => time.machine === machine && ["", about.name].includes(time.task));
  const scores = models.flatMap((model) => model.scores);
  return { score: [Math.min(about.majority, ...scores), Math.max(about.majority, ...scores)],
    times: [0, Math.max(1, ...times.map(({ high }) => high))], bytes: [0, Math.max(1, ...models.map((model) => model.bytes))] };
}

/** Options of a menu: those on offer, and what is chosen where it is none of them. */
function refill({ input }, names, chosen, words = (name) => name) {
  const all = names.includes(chosen) || !chosen ? names : [...names, chosen];
  if ([...input.options].map(({ value }) => value).join("\n") !== all.join("\n")) {
    input.replaceChildren(...all.map((name) => node("option", { value: name }, names.includes(name) ? words(name) : `${words(name)} (not recorded)`)));
  }
  input.value = chosen;
}

const TRAITS = ["task", "cut", "rate", "machine"];

function build(model, root) {
  const data = () => model.get("data"), { tasks } = data();
  root.append(node("style", {}, LOOK));
  const present = () => Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));
  /** A choice, and after it whatever no longer goes with it: a task first, then blocks, rate and machine. */
  let asked = model.get("machine"); // by the reader, who gets it back where it was left for want of a record
  const choose = (trait, value) => {
    put(model, trait, value);
    if (trait === "machine") asked = value;
    const cuts = offersOf(data(), present()).cuts;
    if (cuts.length && !cuts.includes(model.get("cut"))) put(model, "cut", cuts[0]);
    const known = offersOf(data(), present()).rates;
    if (!known.includes(model.get("rate"))) put(model, "rate", known.at(-1));
    const there = offersOf(data(), present()).machines;
    const kept = [asked, model.get("machine"), there[0]].find((name) => there.includes(name));
    if (kept && kept !== model.get("machine")) put(model, "machine", kept);
  };
  let rates = [1];
  const nearest = (value) => rates.reduce((best, one, at) => (Math.abs(one - value) < Math.abs(rates[best] - value) ? at : best), 0);
  const rate = slider("Rate", { min: 0, max: data().rates.length - 1, step: 1, value: 0 },
    (at) => (rates[at] === 1 ? "1: nothing is cut" : `${rates[at]}: one group in ${rates[at]} stays`), (at) => choose("rate", rates[at]));
  const machine = menu("Machine", [], "", (name) => choose("machine", name));
  const task = menu("Task and model", tasks.map(({ name, words }) => [name, words]), model.get("task"), (name) => choose("task", name));
  const cut = menu("Blocks, and how they were chosen", [], "", (name) => choose("cut", name));
  const body = node("tbody"), score = node("th", { scope: "col" });
  const speed = node("th", { scope: "col" }), weight = node("th", { scope: "col" });
  const heads = [node("th", { scope: "col" }, "model"), score, speed, weight];
  const table = node("table", { class: "bpw-rates" }, node("thead", {}, node("tr", {}, ...heads)), body);
  const note = node("p", { class: "bpw-note" });
  machine.box.classList.add("bpw-wide"); // its names are long
  root.append(node("div", { class: "bpw-controls bpw-two" }, rate.box, task.box, cut.box, machine.box), table, note);
  const say = spoken(root);
  const schedule = eachFrame(root, () => {
    const now = present();
    const about = tasks.find(({ name }) => name === now.task), where = data().machines.find(({ name }) => name === now.machine);
    if (!about || !where || !data().rates.includes(now.rate)) throw new Error(`no record of ${now.task} at rate ${now.rate} on ${now.machine}`);
    const of = where.model; // where another model was timed, this one's scores and bytes would mislead
    const rows = rowsOf(data(), now).map((one) => (of ? { ...one, scores: [], bytes: null } : one));
    const named = about.metric, few = Math.min(...rows.filter(({ scores }) => scores.length).map(({ scores }) => scores.length));
    score.textContent = named;
    speed.textContent = of ? `times as fast, ${of}` : "times as fast";
    weight.textContent = "weighs";
    draw(body, rows, about, rangesOf(data(), about, now.machine), !of);
    const noise = few < 2 ? "With one seed a difference of a few points may be chance." : "A dot is one seed.";
    const seen = about.seen ? ` ${about.model} saw this task's text when it was made, so the task is left out of every mean.` : "";
    const scored = of ? `Here ${of}'s shapes were timed, without training, so no score and no size stands beside the times.`
      : `${named}: ${MEANING[about.metric] || ""}on ${about.examples.toLocaleString("en-US")} validation rows, mean over seeds; a bar begins at ${about.majority.toFixed(3)}, the majority class's score. ${noise}${seen}`;
    const weighed = of ? "" : " Weighs: the encoder's matrices in the row's precision, blocks with their indices; all else, above all the embeddings, in float32 in every row. Dense in one compiled call is timed as blocks of which all are kept; their indices are not counted.";
    note.textContent = `${scored} Times as fast: as dense float32 in PyTorch, by the fastest engine recorded, with a 95 % interval. Each was timed beside that dense model, so compare ratios, not the milliseconds of two rows. One compiled call: this book's kernels run the whole encoder, with blocks or without.${weighed} Timed on ${now.machine}.`;
    const verdict = of ? null : verdictOf(rows);
    say(judged(rows, verdict, named, about, now, where));
    root.figures = { rows, verdict };
  });
  const controls = guarded(root, () => {
    const now = present(), offered = offersOf(data(), now), known = data().rates;
    rates = known.filter((one) => offered.rates.includes(one) || one === now.rate);
    rate.input.max = rates.length - 1;
    rate.put(nearest(now.rate));
    refill(machine, offered.machines, now.machine, (name) => data().machines.find((one) => one.name === name)?.words || name);
    refill(cut, offered.cuts, now.cut);
    task.input.value = now.task;
    schedule();
  });
  controls();
  const ends = [follow(model, ["rate", "machine", "task", "cut", "data"], controls), onTheme(controls)];
  return () => ends.forEach((end) => end());
}

export default explorer("Rate explorer: accuracy, time and bytes of recorded models", build);
