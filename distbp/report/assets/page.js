"use strict";
// Builds the page, and rebuilds it when the theme changes or an unfinished run writes new data.

(() => {
  let data = JSON.parse(document.getElementById("data").textContent);
  let chosen = 0, isPressed = false;
  const root = document.getElementById("page"), page = document.documentElement;

  function storedTheme() {
    try { return localStorage.getItem("distbp-theme"); } catch { return null; }
  }
  page.dataset.theme = storedTheme() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  function toggleTheme() {
    page.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("distbp-theme", page.dataset.theme); } catch { /* a page opened from a file may have no storage */ }
    draw();
  }

  function head() {
    const badge = (run) => el("span", { class: `badge ${{ finished: "finished", "going on": "going" }[run.state] || "other"}` }, run.state);
    const title = data.runs.length === 1 ? data.runs[0].name : `${data.runs.length} runs compared`;
    return el("header", {}, el("div", { class: "grow" }, el("h1", {}, title),
      el("p", { class: "soft small" }, data.runs.length === 1 ? [badge(data.runs[0]), " ", data.runs[0].path] : `distbp report of ${data.made}`)),
    el("button", { type: "button", id: "theme", onclick: toggleTheme }, isDark() ? "light theme" : "dark theme"));
  }

  function runSelect() {
    if (data.runs.length === 1) return null;
    const select = el("select", { id: "run", onchange() { chosen = Number(select.value); draw(); } },
      data.runs.map((run, number) => el("option", { value: number, selected: number === chosen ? "" : null }, run.name)));
    return el("p", {}, el("label", { for: "run" }, "Details of "), select);
  }

  function draw() {
    const open = [...document.querySelectorAll("details[id][open]")].map((each) => each.id);
    const focus = document.activeElement?.id, scroll = scrollY;
    plots.forEach((plot) => plot.destroy());
    plots = [];
    const run = data.runs[chosen] || data.runs[0];
    root.replaceChildren(head(), el("main", {}, overview(data.runs), findings(data.runs), curves(data), differences(data), runSelect(),
      layers(run, data.bands), timeUse(run), evaluation(run), repetition(run)),
    el("footer", {}, `Made by distbp ${data.version} on ${data.made}. Charts by uPlot 1.6.32, © 2022 Leon Sorokin, MIT licence.`));
    open.forEach((id) => { const each = document.getElementById(id); if (each) each.open = true; });
    if (focus) document.getElementById(focus)?.focus();
    scrollTo(0, scroll);
  }

  async function follow() {
    try {
      const answer = await fetch(`data.json?${data.number}`);
      if (answer.status === 200 && !isPressed) { data = await answer.json(); draw(); }
    } catch { /* the server has stopped: keep the last data */ }
    setTimeout(follow, 1000);
  }

  addEventListener("pointerdown", () => { isPressed = true; });
  addEventListener("pointerup", () => { isPressed = false; });
  addEventListener("pointercancel", () => { isPressed = false; });
  draw();
  if (data.live) setTimeout(follow, 1000);
})();
