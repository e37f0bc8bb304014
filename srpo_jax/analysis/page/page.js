"use strict";
// Text that a model wrote enters the page only through textContent.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (tag, text, kind) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const acts = (element, action) => {
    element.addEventListener("click", action);
    element.addEventListener("keydown", (event) => { if (event.key === "Enter") action(); });
  };
  const own = (object, key) => Object.prototype.hasOwnProperty.call(object, key);
  const PAGE = 100;

  for (const note of data.notes) byId("notes").append(make("p", note));

  // Missing values come last in both directions of sorting.
  const compare = (a, b, up) => {
    const none = (v) => v === null || v === undefined;
    if (none(a) || none(b)) return none(a) - none(b);
    const order = typeof a === "string" || typeof b === "string" ? String(a).localeCompare(String(b)) : a - b;
    return up ? order : -order;
  };

  const header = (row, columns, state, draw) => {
    row.replaceChildren();
    for (const { title, number } of columns) {
      const arrow = state.by === title ? (state.up ? " ▲" : " ▼") : "";
      const cell = make("th", title + arrow, number ? "n" : "");
      cell.tabIndex = 0;
      acts(cell, () => {
        state.up = state.by === title ? !state.up : true;
        state.by = title;
        draw();
      });
      row.append(cell);
    }
  };
  const sorter = (columns, state) => (columns.find((column) => column.title === state.by) || columns[0]).value;

  // The table of prompts.
  const rate = (p, epoch) => {
    const seen = p.rates[epoch];
    return seen && seen[1] ? seen[0] / seen[1] : undefined;
  };
  const columnsOf = (prompts) => {
    const epochs = [...new Set(prompts.flatMap((p) => Object.keys(p.rates).map(Number)))].sort((a, b) => a - b);
    return [
      { title: "prompt", value: (p) => p.id },
      { title: "domain", value: (p) => p.domain },
      ...epochs.map((epoch) => ({ title: "epoch " + epoch, value: (p) => rate(p, epoch), epoch, number: true })),
      { title: "retired after", value: (p) => p.retired },
      { title: "question", value: (p) => p.question },
    ];
  };
  const table = { by: "prompt", up: true, page: 0 };
  for (const domain of [...new Set(data.prompts.map((p) => p.domain))].sort()) {
    const option = make("option", domain);
    option.value = domain;
    byId("domain").append(option);
  }
  const inDomain = () => data.prompts.filter((p) => !byId("domain").value || p.domain === byId("domain").value);
  const chosen = () => {
    const text = byId("filter").value.trim().toLowerCase();
    return inDomain().filter((p) =>
      (!byId("readable").checked || own(data.rollouts, p.id)) &&
      (!text || p.id.toLowerCase().includes(text) || (p.question || "").toLowerCase().includes(text)));
  };
  const shade = (share) => `hsl(${Math.round(120 * share)} 55% 88%)`;
  const drawPrompts = () => {
    const found = chosen();
    const columns = columnsOf(inDomain());
    const value = sorter(columns, table);
    found.sort((a, b) => compare(value(a), value(b), table.up) || compare(a.id, b.id, true));
    const pages = Math.max(Math.ceil(found.length / PAGE), 1);
    table.page = Math.min(table.page, pages - 1);
    header(byId("prompts").tHead.rows[0], columns, table, drawPrompts);
    const body = byId("prompts").tBodies[0];
    body.replaceChildren();
    for (const p of found.slice(table.page * PAGE, (table.page + 1) * PAGE)) {
      const row = make("tr");
      for (const column of columns) {
        const value = column.value(p);
        let cell;
        if (column.epoch !== undefined) {
          const seen = p.rates[column.epoch];
          cell = make("td", seen ? `${seen[0]}/${seen[1]}` : "", "n");
          if (value !== undefined) cell.style.background = shade(value);
        } else if (column.title === "question") {
          cell = make("td", value === undefined ? "" : value, "text");
        } else {
          cell = make("td", value == null ? "" : column.title === "retired after" ? "epoch " + value : value);
        }
        row.append(cell);
      }
      if (own(data.rollouts, p.id)) {
        row.className = "opens";
        row.tabIndex = 0;
        acts(row, () => open(p, row));
      }
      body.append(row);
    }
    byId("count").textContent = `${found.length.toLocaleString("en")} of ${data.prompts.length.toLocaleString("en")} prompts`;
    byId("page").textContent = `${table.page + 1} / ${pages}`;
    byId("back").disabled = table.page === 0;
    byId("forward").disabled = table.page === pages - 1;
  };
  const again = () => { table.page = 0; drawPrompts(); };
  for (const id of ["filter", "domain", "readable"]) byId(id).addEventListener("input", again);
  byId("back").addEventListener("click", () => { table.page -= 1; drawPrompts(); });
  byId("forward").addEventListener("click", () => { table.page += 1; drawPrompts(); });

  // The rollouts of one prompt.
  const at = Object.fromEntries(data.columns.map((name, i) => [name, i]));
  const titles = { n_tokens: "tokens", language_mix: "mixed", pass_fraction: "tests passed" };
  const words = ["correct", "truncated", "reason"];
  const every = data.columns.filter((name) => name !== "response").map((name) => (
    { name, title: titles[name] || name, value: (row) => row[at[name]], number: !words.includes(name) }));
  const viewer = { by: "step", up: true, rows: [], from: null };
  const word = (name, value) => {
    if (value === null) return name === "correct" ? "not judged" : "";
    if (name === "correct") return value ? "correct" : "wrong";
    return typeof value === "boolean" ? (value ? "yes" : "") : String(value);
  };
  const drawRollouts = () => {
    const text = byId("search").value.toLowerCase();
    const verdict = byId("verdict").value;
    const rows = viewer.rows.filter((row) =>
      (!verdict || String(row[at.correct]) === verdict) &&
      (!text || row[at.response].toLowerCase().includes(text) || (row[at.reason] || "").toLowerCase().includes(text)));
    const shown = every.filter(({ value }) => viewer.rows.some((row) => value(row) !== null));
    const value = sorter(shown, viewer);
    rows.sort((a, b) => compare(value(a), value(b), viewer.up));
    header(byId("rollouts").tHead.rows[0], shown, viewer, drawRollouts);
    const body = byId("rollouts").tBodies[0];
    body.replaceChildren();
    for (const row of rows) {
      const line = make("tr", undefined, "opens");
      line.tabIndex = 0;
      for (const column of shown) {
        line.append(make("td", word(column.name, column.value(row)), column.number ? "n" : ""));
      }
      let below = null;
      const toggle = () => {
        if (below) { below.remove(); below = null; return; }
        below = make("tr");
        const cell = make("td");
        cell.colSpan = shown.length;
        cell.append(make("pre", row[at.response]));
        below.append(cell);
        line.after(below);
      };
      acts(line, toggle);
      body.append(line);
    }
    byId("matches").textContent = `${rows.length} of ${viewer.rows.length} rollouts`;
  };
  const open = (p, row) => {
    viewer.from = row;
    viewer.rows = data.rollouts[p.id].rows;
    byId("viewed").textContent = p.id;
    byId("question").textContent = data.rollouts[p.id].prompt;
    byId("viewer").hidden = false;
    drawRollouts();
    byId("viewer").scrollIntoView();
  };
  for (const id of ["search", "verdict"]) byId(id).addEventListener("input", drawRollouts);
  byId("close").addEventListener("click", () => {
    byId("viewer").hidden = true;
    viewer.from.scrollIntoView({ block: "center" });
    viewer.from.focus();
  });

  drawPrompts();
})();
