"use strict";
// Line charts over epochs, by uPlot, with what it leaves out: a legend and a zoom for the keyboard, a summary, a table.

/** Make an element; what is given as children becomes text, never HTML. */
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
  const cell = (value, place) => place === 0
    ? el("th", { scope: "row" }, value) : el("td", { class: options.text ? "text" : "" }, value);
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": options.label || "table" },
    el("table", { class: options.wide ? "wide" : "" },
      el("thead", {}, el("tr", {}, columns.map((name, place) =>
        el("th", { scope: "col", class: options.text || !place ? "text" : "" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))));
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => document.documentElement.dataset.theme === "dark";

const LIGHT = ["#0b62c4", "#c2410c", "#047857", "#7c3aed", "#be185d", "#0e7490", "#854d0e", "#4b5563"];
const DARK = ["#6cb2ff", "#ff9d5c", "#4fd6a2", "#b79bff", "#ff85b6", "#5fd4e8", "#e0b25a", "#b6bfcc"];
const colour = (number) => (isDark() ? DARK : LIGHT)[number % LIGHT.length];
/** From violet for the first layer to amber for the output. */
const layerColour = (place, count) =>
  `hsl(${265 - (count > 1 ? place / (count - 1) : 1) * 230} 65% ${isDark() ? 68 : 38}%)`;

let plots = [];
const zooms = {};
const hiddenSeries = new Set();

/** One chart: {key, title, about, x, series: [{label, values, stroke, dash, points}], log, bands, xName}. */
function chart(told) {
  const { key, title, x, series } = told;
  const plot = el("div", { class: "plot", tabindex: "0", role: "group", "aria-roledescription": "chart" });
  const live = el("p", { class: "hidden", "aria-live": "polite" });
  const summary = el("p", { class: "hidden", id: `about-${key}` }, `${told.about} ${series.map(inWords).join(" ")}`);
  plot.setAttribute("aria-label", `${title}. Arrow keys read values, plus and minus zoom, 0 shows all.`);
  plot.setAttribute("aria-describedby", summary.id);
  const values = series.map(() => el("span", {}));
  const legend = el("ul", { class: "legend" }, series.map((each, place) => {
    const name = `${key}/${each.label}`;
    const swatch = el("span", { class: each.dash ? "key dashed" : "key" });
    swatch.style.borderColor = each.stroke;
    return el("li", {}, el("button", {
      type: "button", "aria-pressed": String(!hiddenSeries.has(name)), onclick(event) {
        const show = hiddenSeries.delete(name) || (hiddenSeries.add(name), false);
        event.currentTarget.setAttribute("aria-pressed", String(show));
        drawn.setSeries(place + 1, { show });
      },
    }, swatch, each.label, " ", values[place]));
  }));
  const where = el("span", { class: "small soft" });
  const tell = (index) => {
    where.textContent = index === null || index === undefined ? "" : `${told.xName} ${shown(x[index])}`;
    series.forEach((each, place) => {
      const last = each.values.findLastIndex((value) => value !== null);
      values[place].textContent = shown(each.values[index ?? last]);
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
    plot, legend, summary, live, dataTable(told));
  const axis = { stroke: css("--soft"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid") },
    font: "12px system-ui, sans-serif" };
  const range = (u, low, high) => {
    if (low === null || high === null || !Number.isFinite(low)) [low, high] = [told.log ? 0.1 : 0, 1];
    for (const band of told.bands || []) { low = Math.min(low, band.edge / 2); high = Math.max(high, band.edge * 2); }
    return told.log ? [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.01))]
      : uPlot.rangeNum(low, high, 0.08, true);
  };
  // on a logarithmic axis only the powers of ten are drawn
  const powers = (u, splits) => splits.map((value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6 ? value : null);
  const drawn = new uPlot({
    width: 300, height: 240, legend: { show: false }, padding: [10, 12, 0, 0],
    cursor: { sync: { key: told.sync || key, setSeries: false }, drag: { x: true, y: false }, points: { size: 7 } },
    scales: { x: { time: false, range: (u, low, high) => low === high ? [low - 0.5, high + 0.5] : [low, high] },
      y: { distr: told.log ? 3 : 1, range } },
    axes: [{ ...axis, size: 32, ...(told.points ? {} : { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000] }) }, { ...axis, size: 58, ...(told.log ? { filter: powers, grid: { ...axis.grid, filter: powers }, ticks: { ...axis.ticks, filter: powers } } : {}),
      values: (u, splits) => splits.map((value) => value === null ? "" : shown(value)) }],
    series: [{}, ...series.map((each) => ({
      label: each.label, stroke: each.stroke, width: 2, dash: each.dash, spanGaps: false,
      show: !hiddenSeries.has(`${key}/${each.label}`), paths: each.points ? () => null : undefined,
      points: { show: each.points || x.length < 3, size: each.points ? 4 : 7, fill: each.stroke },
    }))],
    hooks: {
      drawClear: [(u) => (told.bands || []).forEach((band) => drawBand(u, band))],
      setCursor: [(u) => tell(u.cursor.idx)],
      setScale: [(u, name) => { if (name === "x") zoomTogether(u, key); }],
    },
  }, [x, ...series.map((each) => each.values)], plot);
  drawn.group = told.sync;
  plots.push(drawn);
  tell(null);
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
      live.textContent = `${told.xName} ${shown(x[to])}: ` +
        series.map((each) => `${each.label} ${shown(each.values[to])}`).join(", ");
    } else if (event.key === "+" || event.key === "=") zoomBy(0.5);
    else if (event.key === "-") zoomBy(2);
    else if (event.key === "0" || event.key === "Escape") zoomTo(...whole());
    else return;
    event.preventDefault();
  });
  return figure;
}

/** Let the other charts over the same epochs show the same part of them. */
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

/** The numbers as a table, made when it is opened, with at most 200 rows. */
function dataTable({ key, title, x, series, xName }) {
  const body = el("div", {});
  return el("details", { id: `table-${key}`, ontoggle() {
    if (body.childElementCount) return;
    const step = Math.max(1, Math.ceil(x.length / 200));
    const places = x.map((_, place) => place).filter((place) => place % step === 0 || place === x.length - 1);
    body.append(table([xName, ...series.map((each) => each.label)],
      places.map((place) => [shown(x[place]), ...series.map((each) => shown(each.values[place]))]),
      { label: `numbers of ${title}` }));
  } }, el("summary", {}, "numbers as a table"), body);
}
