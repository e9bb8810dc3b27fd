/* The playground: widgets and plots around playground_numbers.js. The widgets are the browser's own, which know the
   keyboard and screen readers; the plots are D3's. */
"use strict";

(() => {
  const ITERATIONS = 400;
  const SLOWER = 10; // the learning rate drops to a tenth, and so does the drift
  const EPS = 1e-5;
  const CLIP = 5;

  const PRESETS = [
    ["Two images: noise", { images: 2, window: 16, decay: 0.98, drift: 0, drop: 400 },
      "The truth stands still: averaging only helps, and the longer average is the better one."],
    ["32 images", { images: 32, window: 1, decay: 0, drift: 0.005, drop: 400 },
      "A large batch needs no average: it is as quiet as 16 batches of two, and not late."],
    ["Long window, fast drift: lag", { images: 2, window: 100, decay: 0.9, drift: 0.02, drop: 400 },
      "The long average is quiet and says what was true 50 iterations ago; one with a shorter memory keeps up."],
    ["The paper's settings, in motion", { images: 2, window: 16, decay: 0.98, drift: 0.01, drop: 400 },
      "While the weights move, the short window is nearer to the truth than the long exponential average."],
    ["After the learning rate drops", { images: 2, window: 16, decay: 0.98, drift: 0.01, drop: 200 },
      "Once the weights move less, there is little lag and only noise is left: now the longer average is nearer."],
    ["EMA and SMA with the same memory", { images: 2, window: 16, decay: 0.882, drift: 0.02, drop: 200 },
      "With decay (m − 1) / (m + 1) both have the same lag and the same variance: which kind it is hardly matters."],
  ];

  const two = (value) => (Math.abs(value) < 0.005 ? "0.00" : value.toFixed(2));

  /* Part 1 */

  const averages = d3.select("#averages");
  const slider = (name) => averages.select(`input[name=${name}]`).node();
  const settings = () => Object.fromEntries(
    ["images", "window", "decay", "drift", "drop"].map((name) => [name, Number(slider(name).value)]));

  /* Noise from a seed, so that a slider moves the curves and not the dice. */
  function draws(seed) {
    let state = seed;
    const uniform = () => (state = (1664525 * state + 1013904223) % 2 ** 32) / 2 ** 32;
    const normal = d3.randomNormal.source(uniform)(0, 1);
    return d3.range(ITERATIONS).map(() => d3.range(64).map(normal));
  }

  let seed = 3;
  let noise = draws(seed);

  function measured({ images, window, decay, drift, drop }) {
    const truth = d3.range(ITERATIONS).map((t) => drift * (Math.min(t, drop) + Math.max(t - drop, 0) / SLOWER));
    const statistic = truth.map((value, t) => value + d3.mean(noise[t].slice(0, images)));
    const simple = (values) => numbers.sma(Array(window).fill(0), values, 0)[0];
    const exponential = (values) => numbers.ema(0, values, decay)[1];
    const row = (name, label, average, { late, variance }) => {
      const behind = truth[ITERATIONS - 1] - average(truth)[ITERATIONS - 1];
      const left = variance / images;
      return { name, label, values: average(statistic), late, behind, variance: left,
        error: Math.hypot(behind, Math.sqrt(left)) };
    };
    return { truth, rows: [
      row("batch", `one batch of ${images}`, (values) => values, { late: 0, variance: 1 }),
      row("sma", `SMA of ${window}`, simple, numbers.ofSimple(window)),
      row("ema", `EMA, decay ${decay}`, exponential, numbers.ofExponential(decay)),
    ] };
  }

  const SYMBOLS = { batch: d3.symbolCircle, sma: d3.symbolSquare, ema: d3.symbolTriangle };
  const symbol = (name, size = 42) => d3.symbol().type(SYMBOLS[name]).size(size)();

  /* An empty plot with its axes, as wide as the page leaves it. */
  function plot(svg, height, domainX, domainY, titleX, titleY) {
    const width = svg.node().clientWidth;
    const margin = { left: 44, right: 8, top: 22, bottom: 36 };
    const x = d3.scaleLinear().domain(domainX).range([margin.left, width - margin.right]);
    const y = d3.scaleLinear().domain(domainY).range([height - margin.bottom, margin.top]);
    svg.attr("viewBox", `0 0 ${width} ${height}`).attr("height", height).selectAll("*").remove();
    svg.append("g").attr("transform", `translate(0,${height - margin.bottom})`)
      .call(d3.axisBottom(x).ticks(width / 70).tickSizeOuter(0));
    svg.append("g").attr("transform", `translate(${margin.left},0)`).call(d3.axisLeft(y).ticks(5).tickSizeOuter(0));
    svg.append("text").attr("x", width - margin.right).attr("y", height - 4).attr("text-anchor", "end").text(titleX);
    svg.append("text").attr("x", 4).attr("y", 12).text(titleY);
    return { x, y };
  }

  function drawHistory({ truth, rows }) {
    const [batch, ...both] = rows;
    const all = [...truth, ...rows.flatMap((row) => row.values)];
    const svg = averages.select("svg.history");
    const { x, y } = plot(svg, 280, [0, ITERATIONS], d3.extent(all), "iteration", "statistic");
    svg.append("g").selectAll("circle").data(batch.values).enter().append("circle").attr("class", "batch")
      .attr("r", 1.6).attr("cx", (_, t) => x(t)).attr("cy", y);
    const line = d3.line().x((_, t) => x(t)).y(y);
    svg.append("path").attr("class", "truth").attr("d", line(truth));
    const key = svg.append("g").attr("transform", `translate(${x.range()[1]},12)`);
    key.append("text").attr("text-anchor", "end").text("true value");
    key.append("path").attr("class", "truth").attr("d", "M-96,-4H-66");
    both.forEach((row, i) => {
      svg.append("path").attr("class", `line ${row.name}`).attr("d", line(row.values));
      const marked = d3.range(20 + 20 * i, ITERATIONS, 40);
      svg.append("g").selectAll("path").data(marked).enter().append("path").attr("class", row.name)
        .attr("d", symbol(row.name)).attr("transform", (t) => `translate(${x(t)},${y(row.values[t])})`);
    });
  }

  function drawFaults({ rows }) {
    const svg = averages.select("svg.faults");
    const most = 1.15 * d3.max(rows, (row) => row.error);
    const height = 280;
    const { x, y } = plot(svg, height, [0, most], [0, most], "behind", "scattered");
    const arcs = svg.append("g").attr("class", "arcs");
    for (const radius of y.ticks(5).slice(1)) {
      const points = d3.range(0, 91, 5).map((angle) => (angle * Math.PI) / 180)
        .map((angle) => [radius * Math.cos(angle), radius * Math.sin(angle)]).filter((point) => point[0] <= most);
      arcs.append("path").attr("d", d3.line().x((p) => x(p[0])).y((p) => y(p[1]))(points));
    }
    svg.append("g").selectAll("path").data(rows).enter().append("path").attr("class", (row) => row.name)
      .attr("d", (row) => symbol(row.name, 90))
      .attr("transform", (row) => `translate(${x(Math.abs(row.behind))},${y(Math.sqrt(row.variance))})`);
  }

  function tabulate({ rows }) {
    const lines = averages.select("table.measures tbody").selectAll("tr").data(rows);
    const fresh = lines.enter().append("tr");
    const head = fresh.append("th").attr("scope", "row");
    head.append("svg").attr("class", "key").attr("viewBox", "-8 -8 16 16").attr("aria-hidden", "true").append("path")
      .attr("class", (row) => row.name).attr("d", (row) => symbol(row.name, 90));
    head.append("span");
    fresh.selectAll("td").data(d3.range(4)).enter().append("td");
    const shown = fresh.merge(lines);
    shown.select("span").text((row) => row.label);
    shown.each(function (row) {
      const cells = [row.late.toFixed(1), two(row.behind), row.variance.toPrecision(2), two(row.error)];
      d3.select(this).selectAll("td").data(cells).text((text) => text);
    });
  }

  function inWords({ rows: [batch, simple, exponential] }) {
    const off = (row) => `${row.late.toFixed(1)} iterations late and typically off by ${two(row.error)}`;
    const ratio = simple.error / exponential.error;
    const nearer = Math.abs(Math.log(ratio)) < 0.05 ? "The two averages are equally near to the truth."
      : `The ${ratio < 1 ? "simple" : "exponential"} average is nearer to the truth.`;
    const none = batch.error < 1.05 * Math.min(simple.error, exponential.error);
    return `At the last iteration: ${batch.label} is typically off by ${two(batch.error)}; the ${simple.label} is ` +
      `${off(simple)}; the ${exponential.label}, is ${off(exponential)}. ` + nearer +
      (none ? " Neither is nearer than the batch alone." : "");
  }

  function show() {
    const now = settings();
    const texts = { ...now, decay: now.decay.toFixed(3), drift: now.drift.toFixed(3),
      drop: now.drop < ITERATIONS ? `iteration ${now.drop}` : "never" };
    for (const name of Object.keys(texts)) {
      slider(name).parentNode.querySelector("b").textContent = texts[name];
      slider(name).setAttribute("aria-valuetext", texts[name]);
    }
    const found = measured(now);
    drawHistory(found);
    drawFaults(found);
    tabulate(found);
    return found;
  }

  /* What is seen is said once the hand has stopped, lest a screen reader reads every stop on the way. */
  const say = (found) => averages.select(".seen").text(inWords(found));

  function choose(preset) {
    const [, values, shows] = preset;
    for (const name of Object.keys(values)) slider(name).value = values[name];
    averages.select(".shows").text(shows);
    averages.selectAll(".presets button").data(PRESETS).attr("aria-pressed", (other) => other === preset);
    say(show());
  }

  averages.select(".presets").selectAll("button").data(PRESETS).enter().append("button").attr("type", "button")
    .text(([name]) => name).on("click", choose);
  averages.selectAll("input").on("input", () => {
    averages.select(".shows").text("");
    averages.selectAll(".presets button").attr("aria-pressed", false);
    show();
  }).on("change", () => say(show()));
  averages.select("button[name=draw]").on("click", () => {
    seed += 1;
    noise = draws(seed);
    say(show());
  });
  choose(PRESETS[0]);
  new ResizeObserver(show).observe(averages.select(".plots").node());

  /* Part 2 */

  const MEMORY = true;
  const NORMS = [["batchNorm", "batch norm"], ["modifiedBatchNorm", "modified batch norm"], ["mabn", "MABN"]];
  const FIELDS = [
    ["x", "x, the batch", [0.5, -1, 2, 0.1]],
    ["dz", "dz, what comes back", [0.3, -0.8, 0.4, 1]],
    ["gamma", "gamma", [1.5]],
    ["beta", "beta", [0.2]],
    ["chi2Window", "chi2 of the two batches before", [0.9, 0.7], MEMORY],
    ["psiWindow", "Psi of the two batches before", [0.5, 0.3], MEMORY],
    ["chi2", "EMA of chi2 before", [0.8], MEMORY],
  ];
  const NODES = {
    batchNorm: ["x", "mu", "centred", "var", "sigma", "y", "gamma", "beta", "z"],
    modifiedBatchNorm: ["x", "chi2", "chi", "y", "gamma", "beta", "z"],
    mabn: ["x", "chi2", "chi", "r", "y", "gamma", "beta", "z"],
  };

  const pass = d3.select("#pass");
  const form = pass.select("form");
  let at = 0;

  const choice = form.append("fieldset");
  choice.append("legend").text("normaliser");
  const radios = choice.selectAll("label").data(NORMS).enter().append("label");
  radios.append("input").attr("type", "radio").attr("name", "norm").attr("value", ([name]) => name)
    .property("checked", (_, i) => i === 0);
  radios.append("span").text(([, label]) => label);
  const groups = form.selectAll("fieldset.field").data(FIELDS).enter().append("fieldset");
  groups.attr("class", ([, , , memory]) => (memory ? "field memory" : "field")).append("legend")
    .text(([, label]) => label);
  groups.each(function ([name, label, values]) {
    d3.select(this).selectAll("input").data(values).enter().append("input")
      .attr("type", "number").attr("step", "any").attr("required", "").attr("name", name)
      .attr("min", name.startsWith("chi2") ? 0 : -1000).attr("max", 1000).attr("value", (value) => value)
      .attr("aria-label", (_, i) => (values.length > 1 ? `${label}, number ${i + 1} of ${values.length}` : label));
  });

  const norm = () => form.select("input[name=norm]:checked").node().value;
  const given = (name) => form.selectAll(`input[name=${name}]`).nodes().map((input) => Number(input.value));

  /* The window is of three batches: the two before and this one, for which the oldest place is cleared. */
  const steps = () => numbers[norm()]({
    x: given("x"), dz: given("dz"), gamma: given("gamma")[0], beta: given("beta")[0], eps: EPS, clip: CLIP,
    chi2: given("chi2")[0], chi2Window: [0, ...given("chi2Window")], psiWindow: [0, ...given("psiWindow")],
    iteration: 2,
  });

  const number = (value) => {
    const size = Math.abs(value);
    return (size >= 1e5 || (size > 0 && size < 1e-4) ? value.toExponential(3) : value.toFixed(4)).replace("-", "−");
  };
  const shown = (value) => (Array.isArray(value) ? value : [value]).map(number);

  function tell(list) {
    if (at === 0) return "Press Next: the first step forward.";
    const { pass: which, line, value, why } = list[at - 1];
    return `Step ${at} of ${list.length}, ${which}. ${line}: ${shown(value).join(", ")}. ${why}`;
  }

  function fill(cell, entries, last) {
    const blocks = cell.selectAll("div").data(entries).enter().append("div")
      .attr("aria-current", (entry) => (entry === last ? "step" : null));
    blocks.append("code").text(({ line }) => (line === "dz" ? "given" : line));
    blocks.append("p").selectAll("span").data((entry) => shown(entry.value)).enter().append("span")
      .text((text) => text);
  }

  function walk() {
    form.selectAll(".memory").property("hidden", norm() !== "mabn");
    const wrong = form.selectAll("fieldset:not([hidden]) input").nodes().filter((input) => !input.checkValidity());
    if (wrong.length > 0) {
      const [input] = wrong;
      pass.select(".seen").text(`${input.getAttribute("aria-label")}: a number from ${input.min} to ${input.max}.`);
      return;
    }
    const list = steps();
    at = Math.min(at, list.length);
    const last = list[at - 1];
    const done = list.slice(0, at);
    const start = { x: given("x"), gamma: given("gamma"), beta: given("beta") };
    const rows = pass.select("table.pass tbody").html("").selectAll("tr").data(NODES[norm()]).enter().append("tr");
    rows.append("th").attr("scope", "row").text((node) => node);
    for (const which of ["forward", "backward"]) {
      rows.append("td").attr("class", which).each(function (node) {
        const entries = done.filter((step) => step.pass === which && step.node === node);
        if (which === "forward" && node in start) entries.unshift({ line: "given", value: start[node] });
        fill(d3.select(this), entries, last);
      });
    }
    pass.select(".seen").text(tell(list));
  }

  const go = (to) => () => {
    at = Math.max(0, to());
    walk();
  };
  pass.select("button[name=start]").on("click", go(() => 0));
  pass.select("button[name=back]").on("click", go(() => at - 1));
  pass.select("button[name=next]").on("click", go(() => at + 1));
  pass.select("button[name=all]").on("click", go(() => Infinity));
  form.on("input", walk).on("submit", () => d3.event.preventDefault());
  averages.select("form").on("submit", () => d3.event.preventDefault());
  walk();
})();
