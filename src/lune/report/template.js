"use strict";
// Filters of the answers table. Their state lives in the address (#filter=leaks&fact=f1), so that a
// view can be linked to. Without this script the whole table is shown and the filters are not.
(() => {
  const table = document.getElementById("answers-table");
  const form = document.getElementById("answers-filters");
  if (!table || !form) return;
  const rows = Array.from(table.tBodies[0].rows, (row) => ({ row, data: row.dataset, text: row.textContent.toLowerCase() }));
  const shown = document.getElementById("answers-shown");
  const fields = ["filter", "kind", "attack", "fact", "q"].map((name) => form.elements.namedItem(name)).filter(Boolean);
  const outcomes = { leaks: ["leak"], broken: ["broken"], problems: ["leak", "broken"] };

  const fits = ({ data, text }, state) =>
    (!state.kind || data.kind === state.kind) &&
    (!state.attack || data.attack === state.attack) &&
    (!state.fact || data.fact === state.fact) &&
    (!state.filter || (state.filter === "changed" ? data.changed === "yes" : outcomes[state.filter].includes(data.outcome))) &&
    (!state.q || text.includes(state.q.toLowerCase()));

  const apply = () => {
    const state = Object.fromEntries(fields.map((field) => [field.name, field.value.trim()]));
    let count = 0;
    for (const entry of rows) {
      const fit = fits(entry, state);
      entry.row.hidden = !fit;
      count += fit;
    }
    shown.textContent = count === rows.length ? `All ${count} probes` : `${count} of ${rows.length} probes`;
  };

  const readAddress = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) {
      const value = given.get(field.name) ?? "";
      // A value that the list does not offer selects everything instead of nothing.
      field.value = field.options && !Array.from(field.options).some((option) => option.value === value) ? "" : value;
    }
  };

  const writeAddress = () => {
    const state = new URLSearchParams(fields.filter((field) => field.value.trim()).map((field) => [field.name, field.value.trim()]));
    history.replaceState(null, "", `#${state.toString() || "answers"}`);
  };

  const follow = () => {
    if (!location.hash.includes("=")) return;
    readAddress();
    apply();
    document.getElementById("answers").scrollIntoView();
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { apply(); writeAddress(); });
  form.addEventListener("reset", () => setTimeout(() => { apply(); writeAddress(); }));
  window.addEventListener("hashchange", follow);
  apply();
  follow();
})();
// Paper cannot be unfolded: what is collapsed is printed open.
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
