"use strict";
// Puts the page together, again when the theme changes or a run that is going on has written something.

(() => {
  let told = JSON.parse(document.getElementById("told").textContent);
  let chosen = 0, isPressed = false;
  const root = document.getElementById("page"), page = document.documentElement;

  function remembered() {
    try { return localStorage.getItem("distbp-theme"); } catch { return null; }
  }
  page.dataset.theme = remembered() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  function turnTheme() {
    page.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("distbp-theme", page.dataset.theme); } catch { /* a page from a file may have no storage */ }
    draw();
  }

  function head() {
    const badge = (run) => el("span", { class: `badge ${{ finished: "finished", "going on": "going" }[run.state] || "other"}` }, run.state);
    const title = told.runs.length === 1 ? told.runs[0].name : `${told.runs.length} runs compared`;
    return el("header", {}, el("div", { class: "grow" }, el("h1", {}, title),
      el("p", { class: "soft small" }, told.runs.length === 1 ? [badge(told.runs[0]), " ", told.runs[0].path] : `distbp report of ${told.made}`)),
    el("button", { type: "button", id: "theme", onclick: turnTheme }, isDark() ? "light theme" : "dark theme"));
  }

  function choice() {
    if (told.runs.length === 1) return null;
    const select = el("select", { id: "run", onchange() { chosen = Number(select.value); draw(); } },
      told.runs.map((run, place) => el("option", { value: place, selected: place === chosen ? "" : null }, run.name)));
    return el("p", {}, el("label", { for: "run" }, "Below, the details of "), select);
  }

  function draw() {
    const open = [...document.querySelectorAll("details[id][open]")].map((each) => each.id);
    const focus = document.activeElement?.id, scroll = scrollY;
    plots.forEach((plot) => plot.destroy());
    plots = [];
    const run = told.runs[chosen] || told.runs[0];
    root.replaceChildren(head(), el("main", {}, overview(told.runs), findings(told.runs), curves(told), differences(told), choice(),
      layers(run, told.bands), spending(run), answers(run), repeating(run)),
    el("footer", {}, `Made by distbp ${told.version} on ${told.made}. Charts by uPlot 1.6.32, © 2022 Leon Sorokin, MIT licence.`));
    open.forEach((id) => { const each = document.getElementById(id); if (each) each.open = true; });
    if (focus) document.getElementById(focus)?.focus();
    scrollTo(0, scroll);
  }

  async function follow() {
    try {
      const answer = await fetch(`told.json?${told.number}`);
      if (answer.status === 200 && !isPressed) { told = await answer.json(); draw(); }
    } catch { /* the command has ended; what was seen last stays */ }
    setTimeout(follow, 1000);
  }

  addEventListener("pointerdown", () => { isPressed = true; });
  addEventListener("pointerup", () => { isPressed = false; });
  addEventListener("pointercancel", () => { isPressed = false; });
  draw();
  if (told.live) setTimeout(follow, 1000);
})();
