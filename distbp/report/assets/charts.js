"use strict";
// Line charts over epochs, drawn by uPlot, with keyboard control, a legend, a text summary and a data table.

/** Create an element; children become text nodes, never HTML. */
function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) made.append(child instanceof Node ? child : String(child));
  }
  return made;
}

function shown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(1);
  return String(Number(value.toPrecision(4)));
}

function table(columns, rows, options = {}) {
  const cell = (value, index) => index === 0
    ? el("th", { scope: "row" }, value) : el("td", { class: options.text ? "text" : "" }, value);
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": options.label || "table" },
    el("table", { class: options.wide ? "wide" : "" },
      el("thead", {}, el("tr", {}, columns.map((name, index) =>
        el("th", { scope: "col", class: options.text || !index ? "text" : "" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))));
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => document.documentElement.dataset.theme === "dark";

const LIGHT = ["#0b62c4", "#c2410c", "#047857", "#7c3aed", "#be185d", "#0e7490", "#854d0e", "#4b5563"];
const DARK = ["#6cb2ff", "#ff9d5c", "#4fd6a2", "#b79bff", "#ff85b6", "#5fd4e8", "#e0b25a", "#b6bfcc"];
const colour = (number) => (isDark() ? DARK : LIGHT)[number % LIGHT.length];
/** Colour of a layer: violet for the first, amber for the output layer. */
const layerColour = (index, count) =>
  `hsl(${265 - (count > 1 ? index / (count - 1) : 1) * 230} 65% ${isDark() ? 68 : 38}%)`;

let plots = [];
const zooms = {};
const hiddenSeries = new Set();

/** Create one chart from {key, title, about, x, series: [{label, values, stroke, dash, points}], log, bands, xName}. */
function chart(options) {
  const { key, title, x, series } = options;
  const plot = el("div", { class: "plot", tabindex: "0", role: "group", "aria-roledescription": "chart" });
  const live = el("p", { class: "hidden", "aria-live": "polite" });
  const summary = el("p", { class: "hidden", id: `about-${key}` }, `${options.about} ${series.map(inWords).join(" ")}`);
  plot.setAttribute("aria-label", `${title}. Arrow keys read values, plus and minus zoom, 0 resets the zoom.`);
  plot.setAttribute("aria-describedby", summary.id);
  const values = series.map(() => el("span", {}));
  const legend = el("ul", { class: "legend" }, series.map((each, index) => {
    const name = `${key}/${each.label}`;
    const swatch = el("span", { class: each.dash ? "key dashed" : "key" });
    swatch.style.borderColor = each.stroke;
    return el("li", {}, el("button", {
      type: "button", "aria-pressed": String(!hiddenSeries.has(name)), onclick(event) {
        const show = hiddenSeries.delete(name) || (hiddenSeries.add(name), false);
        event.currentTarget.setAttribute("aria-pressed", String(show));
        drawn.setSeries(index + 1, { show });
      },
    }, swatch, each.label, " ", values[index]));
  }));
  const where = el("span", { class: "small soft" });
  const showValues = (index) => {
    where.textContent = index === null || index === undefined ? "" : `${options.xName} ${shown(x[index])}`;
    series.forEach((each, number) => {
      const last = each.values.findLastIndex((value) => value !== null);
      values[number].textContent = shown(each.values[index ?? last]);
    });
  };
  const whole = () => {
    const known = x.filter((value) => value !== null);
    const low = Math.min(...known), high = Math.max(...known);
    return low === high ? [low - 0.5, high + 0.5] : [low, high];
  };
  const zoomTo = (low, high) => {
    const [least, most] = whole();
    if (high - low >= most - least) [low, high] = [least, most];
    const shift = Math.max(0, least - low) - Math.max(0, high - most);
    drawn.setScale("x", { min: low + shift, max: high + shift });
  };
  const zoomBy = (factor) => {
    const { min, max } = drawn.scales.x;
    const middle = drawn.cursor.idx != null ? x[drawn.cursor.idx] : (min + max) / 2;
    zoomTo(middle - (middle - min) * factor, middle + (max - middle) * factor);
  };
  const button = (sign, name, act) =>
    el("button", { type: "button", "aria-label": `${name}: ${title}`, title: name, onclick: act }, sign);
  const figure = el("figure", {},
    el("div", { class: "top" }, el("h3", {}, title), where,
      button("−", "zoom out", () => zoomBy(2)), button("+", "zoom in", () => zoomBy(0.5)),
      button("↺", "show all", () => zoomTo(...whole()))),
    plot, legend, summary, live, dataTable(options));
  const axis = { stroke: css("--soft"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid") },
    font: "12px system-ui, sans-serif" };
  const range = (u, low, high) => {
    if (low === null || high === null || !Number.isFinite(low)) [low, high] = [options.log ? 0.1 : 0, 1];
    for (const band of options.bands || []) { low = Math.min(low, band.edge / 2); high = Math.max(high, band.edge * 2); }
    return options.log ? [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.01))]
      : uPlot.rangeNum(low, high, 0.08, true);
  };
  // a logarithmic axis has ticks only at powers of ten
  const powers = (u, splits) => splits.map((value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6 ? value : null);
  const drawn = new uPlot({
    width: 300, height: 240, legend: { show: false }, padding: [10, 12, 0, 0],
    cursor: { sync: { key: options.sync || key, setSeries: false }, drag: { x: true, y: false }, points: { size: 7 } },
    scales: { x: { time: false, range: (u, low, high) => low === high ? [low - 0.5, high + 0.5] : [low, high] },
      y: { distr: options.log ? 3 : 1, range } },
    axes: [{ ...axis, size: 32, ...(options.points ? {} : { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000] }) }, { ...axis, size: 58, ...(options.log ? { filter: powers, grid: { ...axis.grid, filter: powers }, ticks: { ...axis.ticks, filter: powers } } : {}),
      values: (u, splits) => splits.map((value) => value === null ? "" : shown(value)) }],
    series: [{}, ...series.map((each) => ({
      label: each.label, stroke: each.stroke, width: 2, dash: each.dash, spanGaps: false,
      show: !hiddenSeries.has(`${key}/${each.label}`), paths: each.points ? () => null : undefined,
      points: { show: each.points || x.length < 3, size: each.points ? 4 : 7, fill: each.stroke },
    }))],
    hooks: {
      drawClear: [(u) => (options.bands || []).forEach((band) => drawBand(u, band))],
      setCursor: [(u) => showValues(u.cursor.idx)],
      setScale: [(u, name) => { if (name === "x") zoomTogether(u, key); }],
    },
  }, [x, ...series.map((each) => each.values)], plot);
  drawn.group = options.sync;
  plots.push(drawn);
  showValues(null);
  const kept = zooms[key], [least, most] = whole();
  if (kept && kept[1] - kept[0] < (most - least) * 0.98 && kept[0] > least) zoomTo(...kept);
  new ResizeObserver(() => {
    const width = Math.floor(plot.clientWidth);
    if (width > 0 && width !== drawn.width) drawn.setSize({ width, height: 240 });
  }).observe(plot);
  plot.addEventListener("keydown", (event) => {
    const at = drawn.cursor.idx ?? -1, last = x.length - 1;
    const to = { ArrowLeft: Math.max(0, at - 1), ArrowRight: Math.min(last, at + 1), Home: 0, End: last }[event.key];
    if (to !== undefined) {
      drawn.setCursor({ left: drawn.valToPos(x[to], "x"), top: drawn.over.clientHeight / 2 });
      live.textContent = `${options.xName} ${shown(x[to])}: ` +
        series.map((each) => `${each.label} ${shown(each.values[to])}`).join(", ");
    } else if (event.key === "+" || event.key === "=") zoomBy(0.5);
    else if (event.key === "-") zoomBy(2);
    else if (event.key === "0" || event.key === "Escape") zoomTo(...whole());
    else return;
    event.preventDefault();
  });
  return figure;
}

/** Zoom the other charts of the same group to the same range. */
function zoomTogether(zoomed, key) {
  const { min, max } = zoomed.scales.x;
  zooms[key] = [min, max];
  for (const plot of plots) {
    const differs = plot.scales.x.min !== min || plot.scales.x.max !== max;
    if (plot !== zoomed && zoomed.group && plot.group === zoomed.group && differs) plot.setScale("x", { min, max });
  }
}

function drawBand(u, band) {
  const { left, top, width, height } = u.bbox;
  const edge = Math.min(Math.max(u.valToPos(band.edge, "y", true), top), top + height);
  const [from, to] = band.above ? [top, edge] : [edge, top + height];
  u.ctx.save();
  u.ctx.fillStyle = css("--badback");
  u.ctx.fillRect(left, from, width, to - from);
  u.ctx.fillStyle = css("--bad");
  u.ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  u.ctx.textBaseline = band.above ? "top" : "bottom";
  const text = 6 * devicePixelRatio;
  u.ctx.fillText(band.name, left + text, band.above ? from + text : to - text);
  u.ctx.restore();
}

function inWords(each) {
  const known = each.values.filter((value) => value !== null);
  if (!known.length) return `${each.label}: no values.`;
  return `${each.label}: from ${shown(known[0])} to ${shown(known[known.length - 1])}, ` +
    `lowest ${shown(Math.min(...known))}, highest ${shown(Math.max(...known))}.`;
}

/** Data table with about 200 rows at most, built when it is opened. */
function dataTable({ key, title, x, series, xName }) {
  const body = el("div", {});
  return el("details", { id: `table-${key}`, ontoggle() {
    if (body.childElementCount) return;
    const step = Math.max(1, Math.ceil(x.length / 200));
    const rows = x.map((_, index) => index).filter((index) => index % step === 0 || index === x.length - 1);
    body.append(table([xName, ...series.map((each) => each.label)],
      rows.map((index) => [shown(x[index]), ...series.map((each) => shown(each.values[index]))]),
      { label: `values of ${title}` }));
  } }, el("summary", {}, "show as table"), body);
}
