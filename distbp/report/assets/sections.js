"use strict";
// The sections of the page, each a function of the runs' data.

function section(title, about, ...children) {
  return el("section", { "aria-label": title }, el("h2", {}, title), about ? el("p", { class: "soft" }, about) : null, children);
}

/** Return the curves of all runs over the union of their epochs. */
function overEpochs(runs, wanted) {
  const x = [...new Set(runs.flatMap((run) => run.curves.epoch))].filter((each) => each !== null).sort((a, b) => a - b);
  const indexOf = new Map(x.map((epoch, number) => [epoch, number]));
  const series = [];
  runs.forEach((run, number) => wanted.forEach(([name, label, dash], which) => {
    if (!run.curves[name]) return;
    const values = new Array(x.length).fill(null);
    run.curves.epoch.forEach((epoch, at) => { if (epoch !== null) values[indexOf.get(epoch)] = run.curves[name][at]; });
    const alone = runs.length === 1;
    series.push({ label: alone ? label : `${run.name} ${label}`, values, dash: dash ? [6, 4] : undefined,
      stroke: colour(alone ? [1, 2, 0][which] : number) });
  }));
  return { x, series };
}

const CURVES = [["cost", "Cost"], ["accuracy", "Accuracy"], ["rmse", "RMSE"], ["r2", "R²"]];

function curves(data) {
  const figures = [];
  for (const [name, title] of CURVES) {
    const wanted = [[`train_${name}`, "train", true], [`validation_${name}`, "validation", true], [`test_${name}`, "test", false]];
    const { x, series } = overEpochs(data.runs, wanted);
    if (!series.length || !x.length) continue;
    figures.push(chart({ key: name, title: `${title} per epoch`, about: `${title} of each epoch.`, x, series, xName: "epoch", sync: "epochs" }));
  }
  return section("Curves", "Drag across a chart to zoom, double-click to reset. Training values are means over the epoch, so they lag behind the test values.",
    figures.length ? el("div", { class: "charts" }, figures) : el("p", {}, "No epoch is finished yet."));
}

function layers(run, bands) {
  if (!run.layers) return null;
  const { epoch, each, depth } = run.layers;
  const lines = (name) => each.map((layer, index) => ({ label: layer.name, values: layer[name], stroke: layerColour(index, each.length) }))
    .filter((line) => line.values.length);
  const common = { x: epoch, xName: "epoch", log: true, sync: "layers" };
  const figures = [];
  const relative = lines("relative");
  if (relative.length) figures.push(chart({ ...common, key: "relative", title: "Gradient (output layer = 1)",
    about: `Root mean square per weight; below ${bands.vanishing} the gradient counts as vanishing.`, series: relative,
    bands: [{ edge: bands.vanishing, above: false, name: "vanishing" }] }));
  figures.push(chart({ ...common, key: "update", title: "Update ratio",
    about: `Norm of a step's update / norm of the weights; above ${bands.exploding} it counts as exploding.`, series: lines("update"),
    bands: [{ edge: bands.exploding, above: true, name: "exploding" }] }));
  figures.push(chart({ ...common, key: "gradient", title: "Gradient norm", about: "Norm of each layer's gradient.", series: lines("gradient") }));
  const some = depth > each.length ? ` ${each.length} of ${depth} layers are drawn.` : "";
  return section("Layers", `In a healthy network, each layer's gradient is above about 0.01 of the output layer's, and update ratios are about 0.001 to 0.01.${some}`,
    el("div", { class: "charts" }, figures));
}

function findings(runs) {
  const boxes = runs.flatMap((run) => [
    ...(run.state_text ? [el("p", { class: `box ${run.state === "failed" ? "bad" : "warn"}` }, `${run.name} – ${run.state}: ${run.state_text}`)] : []),
    ...run.notes.map((note) => el("p", { class: "box bad" }, note)),
    ...run.findings.map((finding) => el("p", { class: `box ${["vanishing", "exploding"].includes(finding.kind) ? "bad" : "warn"}` },
      el("strong", {}, finding.kind), runs.length > 1 ? ` in ${run.name}` : "",
      finding.first === finding.last ? `, epoch ${finding.last}: ` : `, epochs ${finding.first} to ${finding.last}: `, finding.text)),
  ]);
  return boxes.length ? section("Findings", null, boxes) : null;
}

function overview(runs) {
  if (runs.length === 1) {
    const [done, all] = runs[0].epochs;
    const cards = [...runs[0].results, ["epochs", all ? `${done} of ${all}` : `${done}`, ""]];
    return el("div", { class: "cards" }, cards.map(([name, value, remark]) =>
      el("div", { class: "card" }, el("span", {}, name), el("b", {}, value), el("span", {}, remark))));
  }
  const names = [...new Set(runs.flatMap((run) => run.results.map(([name]) => name)))];
  return section("Runs", null, el("div", { class: "box" }, table(["run", "state", "epochs", ...names],
    runs.map((run) => [run.name, run.state, run.epochs[0], ...names.map((name) => (run.results.find(([other]) => other === name) || [0, "–"])[1])]),
    { label: "results of the runs", wide: true })));
}

function differences(data) {
  if (data.runs.length < 2) return null;
  return section("Different settings", null, data.differences.length
    ? el("div", { class: "box" }, table(["setting", ...data.runs.map((run) => run.name)], data.differences.map(([name, values]) => [name, ...values]), { text: true, wide: true, label: "different settings" }))
    : el("p", {}, "All settings are equal."));
}

const seconds = (value) => value < 1 ? `${shown(value * 1000)} ms` : value < 120 ? `${shown(value)} s` : `${shown(value / 60)} min`;
const percent = (part, whole) => whole > 0 ? `${Math.round(100 * part / whole)} %` : "–";

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function timeUse(run) {
  const about = "One row per worker; time runs from left to right, and the height of each colour is its share. White space is time outside of steps: evaluation, checkpoints and the like.";
  if (!run.time_use) return section("Time use", "No times were recorded: the run has not finished an epoch, or an older version made it.");
  const { end, workers, parts, totals, marks } = run.time_use;
  const left = 8, width = 1000, row = 46, bar = 24, top = 26, height = top + workers.length * row + 24;
  const at = (time) => left + (width - 2 * left) * (end > 0 ? Math.min(1, time / end) : 0);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Timeline of ${workers.length} workers over ${seconds(end || 0)} with ${marks.length} marks; the tables below contain its numbers` });
  const rect = (x, y, w, h, fill) => drawing.append(svg("rect", { x, y, width: Math.max(w, 0.4), height: Math.max(h, 0), fill }));
  const readout = el("p", { class: "small soft" }, "Point at the timeline to read the values of an epoch.");
  workers.forEach((name, number) => {
    const y = top + number * row;
    drawing.append(svg("text", { x: left, y: y + 12 }, name));
    for (const part of parts) {
      if (!(part.seconds > 0)) continue;
      const from = at(part.from), share = part.seconds / Math.max(part.to - part.from, part.seconds);
      const long = (at(part.to) - from) * share, compute = bar * Math.min(1, part.computing[number] / part.seconds);
      const serve = Math.min(bar - compute, bar * part.serving / part.seconds);
      rect(from, y + 16, long, bar, css("--wait"));
      rect(from, y + 16 + bar - compute, long, compute, css("--compute"));
      rect(from, y + 16 + bar - compute - serve, long, serve, css("--serve"));
    }
  });
  marks.forEach((mark, number) => {
    const x = at(mark.at);
    drawing.append(svg("line", { x1: x, x2: x, y1: 18, y2: height - 20, stroke: css("--bad"), "stroke-width": 1.5, "stroke-dasharray": mark.kind === "recovery" ? "none" : "4 3" }));
    const label = svg("text", { x, y: 13, "text-anchor": x > width - 20 ? "end" : x < 20 ? "start" : "middle" }, number < 40 ? String(number + 1) : "");
    label.style.fill = css("--bad");
    drawing.append(label);
  });
  drawing.append(svg("text", { x: left, y: height - 6 }, "0"), svg("text", { x: width - left, y: height - 6, "text-anchor": "end" }, seconds(end || 0)));
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const time = ((event.clientX - box.left) / box.width * width - left) / (width - 2 * left) * end;
    const part = parts.find((each) => time >= each.from && time <= each.to);
    if (!part) return;
    const name = part.first === part.last ? `epoch ${part.first}` : `epochs ${part.first} to ${part.last}`;
    readout.textContent = `${name}: steps took ${seconds(part.seconds)}, server ${percent(part.serving, part.seconds)}, ` +
      workers.map((worker, number) => `${worker} computed ${percent(part.computing[number], part.seconds)}`).join(", ");
  });
  const key = (variable, name) => { const block = el("span", { class: "key block" }); block.style.background = css(variable); return el("span", {}, block, name, "\u2003"); };
  const rows = workers.map((name, number) => {
    const compute = totals.computing[number], wait = Math.max(0, totals.steps - compute - totals.serving);
    return [name, `${seconds(compute)} (${percent(compute, totals.steps)})`, `${seconds(totals.serving)} (${percent(totals.serving, totals.steps)})`, `${seconds(wait)} (${percent(wait, totals.steps)})`];
  });
  const more = run.time_use.not_shown ? el("p", { class: "small soft" }, `${run.time_use.not_shown} more workers are not drawn.`) : null;
  return section("Time use", about, el("figure", {}, el("div", { class: "small" }, key("--compute", "worker computes"), key("--serve", "server adds gradients and updates"), key("--wait", "worker waits")), drawing, readout, more,
    table(["worker", "computes", "server", "waits"], rows, { label: "time use of the whole run", wide: true }),
    el("p", { class: "small soft" }, `Steps took ${seconds(totals.steps)}; evaluation, checkpoints and the like took ${seconds(totals.other)}.`),
    marks.length ? el("details", { open: "" }, el("summary", {}, `recoveries and breaks (${marks.length + run.time_use.marks_not_shown})`), table(["number", "at", "step", "what happened"],
      marks.map((mark, number) => [number + 1, seconds(mark.at), mark.step ?? "", mark.text]), { text: true, wide: true, label: "recoveries and breaks" })) : null));
}

function evaluation(run) {
  const result = run.evaluation;
  if (result.missing) return section("Mistakes", result.missing);
  const rows = `${result.rows < result.test_rows ? `the first ${result.rows.toLocaleString("en")} of ` : ""}${result.test_rows.toLocaleString("en")} test rows`;
  const children = result.note ? [el("p", { class: "box warn" }, result.note)] : [];
  if (result.points) {
    children.push(el("div", { class: "charts" }, chart({ key: "values", title: "Predicted against true", about: `${result.points.length} test rows.`, xName: "true value", points: true,
      x: result.points.map(([x]) => x), series: [{ label: "predicted", values: result.points.map(([, y]) => y), stroke: colour(0), points: true }, { label: "perfect prediction", values: result.points.map(([x]) => x), stroke: css("--soft"), dash: [4, 4] }] })));
    children.push(el("h3", {}, "Worst mistakes"), table(["test row", "true", "predicted", "error"], result.mistakes.map((each) => [each.row, shown(each.true), shown(each.predicted), shown(each.predicted - each.true)]), { label: "worst mistakes" }));
    return section("Mistakes", `True and predicted values of ${rows}${result.values > 1 ? `, for the first of ${result.values} outputs` : ""}.`, children);
  }
  children.push(confusion(result));
  const hasImages = result.mistakes.some((each) => each.image);
  if (result.mistakes.length) {
    children.push(el("h3", {}, "Worst mistakes"), el("p", { class: "soft small" }, `The wrong predictions with the lowest probability of the true class.${hasImages ? " Below each image: true → predicted class, probability of the prediction, row." : ""}`));
    children.push(hasImages ? el("ul", { class: "mistakes" }, result.mistakes.map(imageOfMistake))
      : table(["test row", "true class", "predicted class", "its probability"], result.mistakes.map((each) => [each.row, each.true, each.predicted, percent(each.probability, 1)]), { text: true, label: "worst mistakes" }));
  }
  return section("Mistakes", `${result.correct.toLocaleString("en")} of ${rows} are classified correctly.`, children);
}

function imageOfMistake(each) {
  const { height, width, bytes } = each.image;
  const canvas = el("canvas", { width, height, role: "img", "aria-label": `test row ${each.row}: ${each.true}, predicted as ${each.predicted}` });
  const raw = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)), image = new ImageData(width, height);
  const depth = raw.length / (width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let part = 0; part < 3; part++) image.data[4 * pixel + part] = raw[depth * pixel + (depth === 3 ? part : 0)];
    image.data[4 * pixel + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return el("li", {}, canvas, el("b", {}, `${each.true} → ${each.predicted}`), el("span", { class: "soft" }, `${percent(each.probability, 1)} · row ${each.row}`));
}

function confusion(result) {
  if (!result.confusion) {
    return el("div", { class: "box" }, el("h3", {}, `Most frequent confusions of ${result.class_count} classes`),
      table(["true class", "predicted class", "rows"], result.confusions, { text: true, label: "most frequent confusions" }));
  }
  const most = Math.max(1, ...result.confusion.flatMap((row, k) => row.filter((_, j) => j !== k)));
  const totals = result.confusion.map((row) => row.reduce((a, b) => a + b, 0));
  const cell = (count, k, j) => {
    const made = el("td", {}, count || "·");
    const strength = k === j ? (totals[k] ? count / totals[k] : 0) * 0.22 : count / most * 0.5;
    made.style.background = k === j ? `rgb(var(--heat) / ${strength})` : count ? `rgb(200 60 40 / ${strength * 0.8})` : "";
    return made;
  };
  return el("div", { class: "box" }, el("h3", {}, "Confusion matrix"), el("p", { class: "soft small" }, "Rows: true classes, columns: predicted classes."),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "confusion matrix" }, el("table", { class: "confusion" },
      el("thead", {}, el("tr", {}, el("td", {}, ""), result.classes.map((name) => el("th", { scope: "col" }, name)), el("th", { scope: "col" }, "recall"))),
      el("tbody", {}, result.confusion.map((row, k) => el("tr", {}, el("th", { scope: "row" }, result.classes[k]), row.map((count, j) => cell(count, k, j)),
        el("td", {}, percent(row[k], totals[k]))))))));
}

function repetition(run) {
  const copy = el("button", { type: "button", onclick() { navigator.clipboard?.writeText(run.command).then(() => { copy.textContent = "copied"; }, () => {}); } }, "copy");
  const rows = (pairs) => table(["name", "value"], pairs, { text: true, wide: true, label: "names and values" });
  return [
    section("Repeat this run", run.command_note || null, run.command ? [el("pre", { tabindex: "0" }, run.command), copy] : null),
    section("Environment", null, el("div", { class: "box" }, rows(run.environment)),
      el("details", { id: "all-settings" }, el("summary", {}, "all settings"), rows(Object.entries(run.settings)))),
  ];
}
