"use strict";
// The parts of the page, each from what is told of the runs.

function section(title, about, ...children) {
  return el("section", { "aria-label": title }, el("h2", {}, title), about ? el("p", { class: "soft" }, about) : null, children);
}

/** All runs' values of some names over the epochs that any of them has. */
function overEpochs(runs, wanted) {
  const x = [...new Set(runs.flatMap((run) => run.curves.epoch))].filter((each) => each !== null).sort((a, b) => a - b);
  const place = new Map(x.map((epoch, number) => [epoch, number]));
  const series = [];
  runs.forEach((run, number) => wanted.forEach(([name, label, dash], which) => {
    if (!run.curves[name]) return;
    const values = new Array(x.length).fill(null);
    run.curves.epoch.forEach((epoch, at) => { if (epoch !== null) values[place.get(epoch)] = run.curves[name][at]; });
    const alone = runs.length === 1;
    series.push({ label: alone ? label : `${run.name} ${label}`, values, dash: dash ? [6, 4] : undefined,
      stroke: colour(alone ? [1, 2, 0][which] : number) });
  }));
  return { x, series };
}

const CURVES = [["cost", "Cost"], ["accuracy", "Accuracy"], ["rmse", "RMSE"], ["r2", "R²"]];

function curves(told) {
  const figures = [];
  for (const [name, title] of CURVES) {
    const wanted = [[`train_${name}`, "train", true], [`validation_${name}`, "validation", true], [`test_${name}`, "test", false]];
    const { x, series } = overEpochs(told.runs, wanted);
    if (!series.length || !x.length) continue;
    figures.push(chart({ key: name, title: `${title} per epoch`, about: `${title} of each epoch.`, x, series, xName: "epoch", sync: "epochs" }));
  }
  return section("Curves", "Drag across a chart to zoom, double-click to see all of it. Train values are means over the epoch, so they lag behind.",
    figures.length ? el("div", { class: "charts" }, figures) : el("p", {}, "No epoch has ended yet."));
}

function layers(run, bands) {
  if (!run.layers) return null;
  const { epoch, each, depth } = run.layers;
  const lines = (name) => each.map((layer, place) => ({ label: layer.name, values: layer[name], stroke: layerColour(place, each.length) }))
    .filter((line) => line.values.length);
  const common = { x: epoch, xName: "epoch", log: true, sync: "layers" };
  const figures = [];
  const relative = lines("relative");
  if (relative.length) figures.push(chart({ ...common, key: "relative", title: "Gradient, output layer = 1",
    about: `Weight by weight; below ${bands.vanishing} it counts as vanishing.`, series: relative,
    bands: [{ edge: bands.vanishing, above: false, name: "vanishing" }] }));
  figures.push(chart({ ...common, key: "update", title: "Update ratio",
    about: `A step's change as a share of the weights; above ${bands.exploding} it counts as exploding.`, series: lines("update"),
    bands: [{ edge: bands.exploding, above: true, name: "exploding" }] }));
  figures.push(chart({ ...common, key: "gradient", title: "Gradient norm", about: "Length of each layer's gradient.", series: lines("gradient") }));
  const some = depth > each.length ? ` ${each.length} of ${depth} layers are drawn.` : "";
  return section("Layers", `Healthy gradients stay within a few hundredths of the output layer's, healthy updates between thousandths and hundredths of the weights.${some}`,
    el("div", { class: "charts" }, figures));
}

function findings(runs) {
  const boxes = runs.flatMap((run) => [
    ...(run.state_text ? [el("p", { class: `box ${run.state === "failed" ? "bad" : "warn"}` }, `${run.name} – ${run.state}: ${run.state_text}`)] : []),
    ...run.notes.map((note) => el("p", { class: "box bad" }, note)),
    ...run.findings.map((found) => el("p", { class: `box ${["vanishing", "exploding"].includes(found.kind) ? "bad" : "warn"}` },
      el("strong", {}, found.kind), runs.length > 1 ? ` in ${run.name}` : "",
      found.first === found.last ? `, epoch ${found.last}: ` : `, epochs ${found.first} to ${found.last}: `, found.text)),
  ]);
  return boxes.length ? section("What was found", null, boxes) : null;
}

function overview(runs) {
  if (runs.length === 1) {
    const [done, all] = runs[0].epochs;
    const cards = [...runs[0].numbers, ["epochs", all ? `${done} of ${all}` : `${done}`, ""]];
    return el("div", { class: "cards" }, cards.map(([name, value, remark]) =>
      el("div", { class: "card" }, el("span", {}, name), el("b", {}, value), el("span", {}, remark))));
  }
  const names = [...new Set(runs.flatMap((run) => run.numbers.map(([name]) => name)))];
  return section("The runs", null, el("div", { class: "box" }, table(["run", "state", "epochs", ...names],
    runs.map((run) => [run.name, run.state, run.epochs[0], ...names.map((name) => (run.numbers.find(([other]) => other === name) || [0, "–"])[1])]),
    { label: "results of the runs", wide: true })));
}

function differences(told) {
  if (told.runs.length < 2) return null;
  return section("Settings that differ", null, told.differences.length
    ? el("div", { class: "box" }, table(["setting", ...told.runs.map((run) => run.name)], told.differences.map(([name, values]) => [name, ...values]), { text: true, wide: true, label: "settings that differ" }))
    : el("p", {}, "All settings are the same."));
}

const seconds = (value) => value < 1 ? `${shown(value * 1000)} ms` : value < 120 ? `${shown(value)} s` : `${shown(value / 60)} min`;
const percent = (part, whole) => whole > 0 ? `${Math.round(100 * part / whole)} %` : "–";

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function spending(run) {
  const about = "Each row is a worker; time goes from left to right, and the height of the colour is the share of it. White space is evaluation, checkpoints and whatever else is no step.";
  if (!run.time) return section("Where the time goes", "This run has recorded no times: it has not come to the end of an epoch, or was made by an older version.");
  const { end, workers, parts, totals, marks } = run.time;
  const left = 8, width = 1000, row = 46, bar = 24, top = 26, height = top + workers.length * row + 24;
  const at = (time) => left + (width - 2 * left) * (end > 0 ? Math.min(1, time / end) : 0);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Timeline of ${workers.length} workers over ${seconds(end || 0)} with ${marks.length} marks; the tables below hold its numbers` });
  const rect = (x, y, w, h, fill) => drawing.append(svg("rect", { x, y, width: Math.max(w, 0.4), height: Math.max(h, 0), fill }));
  const readout = el("p", { class: "small soft" }, "Point at the timeline to read an epoch.");
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
  const more = run.time.not_shown ? el("p", { class: "small soft" }, `${run.time.not_shown} more workers are not drawn.`) : null;
  return section("Where the time goes", about, el("figure", {}, el("div", { class: "small" }, key("--compute", "computes"), key("--serve", "the server adds up and updates"), key("--wait", "waits for others")), drawing, readout, more,
    table(["worker", "computes", "server", "waits"], rows, { label: "where the time goes, in all", wide: true }),
    el("p", { class: "small soft" }, `Steps took ${seconds(totals.steps)} in all; ${seconds(totals.else)} went to evaluation, checkpoints and the like.`),
    marks.length ? el("details", { open: "" }, el("summary", {}, `recoveries and breaks (${marks.length + run.time.marks_not_shown})`), table(["number", "at", "step", "what happened"],
      marks.map((mark, number) => [number + 1, seconds(mark.at), mark.step ?? "", mark.text]), { text: true, wide: true, label: "recoveries and breaks" })) : null));
}

function answers(run) {
  const told = run.answers;
  if (told.missing) return section("Mistakes", told.missing);
  const some = told.rows < told.of ? ` of the first ${told.rows.toLocaleString("en")} of ${told.of.toLocaleString("en")}` : ` of ${told.rows.toLocaleString("en")}`;
  const children = told.note ? [el("p", { class: "box warn" }, told.note)] : [];
  if (told.points) {
    children.push(el("div", { class: "charts" }, chart({ key: "values", title: "Predicted against true", about: `${told.points.length} test rows.`, xName: "true value", points: true,
      x: told.points.map(([x]) => x), series: [{ label: "predicted", values: told.points.map(([, y]) => y), stroke: colour(0), points: true }, { label: "if it were right", values: told.points.map(([x]) => x), stroke: css("--soft"), dash: [4, 4] }] })));
    children.push(el("h3", {}, "The worst mistakes"), table(["test row", "true", "predicted", "error"], told.mistakes.map((each) => [each.row, shown(each.true), shown(each.said), shown(each.said - each.true)]), { label: "the worst mistakes" }));
    return section("Mistakes", `The test rows${some} with the network's answers${told.values > 1 ? `; of its ${told.values} values the first` : ""}.`, children);
  }
  children.push(confusion(told));
  const pictures = told.mistakes.some((each) => each.picture);
  if (told.mistakes.length) {
    children.push(el("h3", {}, "The worst mistakes"), el("p", { class: "soft small" }, "The wrong answers that gave the true class the least probability."));
    children.push(pictures ? el("ul", { class: "mistakes" }, told.mistakes.map(picture))
      : table(["test row", "true class", "answer", "how sure"], told.mistakes.map((each) => [each.row, each.true, each.said, percent(each.sure, 1)]), { text: true, label: "the worst mistakes" }));
  }
  return section("Mistakes", `${told.right.toLocaleString("en")} test rows${some} are answered rightly.`, children);
}

function picture(each) {
  const { height, width, bytes } = each.picture;
  const canvas = el("canvas", { width, height, role: "img", "aria-label": `test row ${each.row}: ${each.true}, taken for ${each.said}` });
  const raw = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)), image = new ImageData(width, height);
  const depth = raw.length / (width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let part = 0; part < 3; part++) image.data[4 * pixel + part] = raw[depth * pixel + (depth === 3 ? part : 0)];
    image.data[4 * pixel + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return el("li", {}, canvas, el("b", {}, `${each.true}, not ${each.said}`), el("span", { class: "soft" }, `${percent(each.sure, 1)} sure · row ${each.row}`));
}

function confusion(told) {
  if (!told.confusion) {
    return el("div", { class: "box" }, el("h3", {}, `Most frequent confusions of ${told.class_count} classes`),
      table(["true class", "answer", "rows"], told.confused, { text: true, label: "most frequent confusions" }));
  }
  const most = Math.max(1, ...told.confusion.flatMap((row, k) => row.filter((_, j) => j !== k)));
  const totals = told.confusion.map((row) => row.reduce((a, b) => a + b, 0));
  const cell = (count, k, j) => {
    const made = el("td", {}, count || "·");
    const strength = k === j ? (totals[k] ? count / totals[k] : 0) * 0.22 : count / most * 0.5;
    made.style.background = k === j ? `rgb(var(--heat) / ${strength})` : count ? `rgb(200 60 40 / ${strength * 0.8})` : "";
    return made;
  };
  return el("div", { class: "box" }, el("h3", {}, "Confusion matrix"), el("p", { class: "soft small" }, "True classes down, the network's answers across."),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "confusion matrix" }, el("table", { class: "confusion" },
      el("thead", {}, el("tr", {}, el("td", {}, ""), told.classes.map((name) => el("th", { scope: "col" }, name)), el("th", { scope: "col" }, "found"))),
      el("tbody", {}, told.confusion.map((row, k) => el("tr", {}, el("th", { scope: "row" }, told.classes[k]), row.map((count, j) => cell(count, k, j)),
        el("td", {}, percent(row[k], totals[k]))))))));
}

function repeating(run) {
  const copy = el("button", { type: "button", onclick() { navigator.clipboard?.writeText(run.command).then(() => { copy.textContent = "copied"; }, () => {}); } }, "copy");
  const rows = (pairs) => table(["name", "value"], pairs, { text: true, wide: true, label: "names and values" });
  return [
    section("How to repeat it", run.command_note || null, run.command ? [el("pre", { tabindex: "0" }, run.command), copy] : null),
    section("Environment", null, el("div", { class: "box" }, rows(run.environment)),
      el("details", { id: "all-settings" }, el("summary", {}, "all settings"), rows(Object.entries(run.settings)))),
  ];
}
