"use strict";
// Light and dark, and the tables: sorted by a click on a heading, filtered by a search, columns shown and hidden.

document.getElementById("theme").addEventListener("click", () => {
  const dark = document.documentElement.classList.toggle("dark");
  try { localStorage.setItem("mtlbench-theme", dark ? "dark" : "light"); } catch { /* private browsing */ }
});

async function library() {
  const bytes = Uint8Array.from(atob(window.datatablesSource), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
  return (await import(address)).default;
}

function enhance(DataTable, table) {
  const headings = [...table.querySelectorAll("thead th")];
  const hidden = headings.flatMap((heading, i) => (heading.dataset.shown === "0" ? [i] : []));
  const sections = [...new Set(headings.map((heading) => heading.dataset.section).filter(Boolean))];
  const ofSection = (name) => headings.flatMap((heading, i) => (heading.dataset.section === name ? [i] : []));
  const toggle = (name) => ({
    text: name,
    action: (event, api) => {
      const columns = api.columns(ofSection(name));
      columns.visible(!columns.visible().toArray().every(Boolean));
    },
  });
  return new DataTable(table, {
    order: [],
    paging: table.tBodies[0].rows.length > 50,
    pageLength: 50,
    autoWidth: false,
    columnDefs: [
      { targets: hidden, visible: false },
      { targets: headings.flatMap((heading, i) => (heading.textContent.includes("↑") ? [i] : [])), orderSequence: ["desc", "asc"] },
    ],
    layout: {
      topStart: { buttons: [{ extend: "colvis", text: "columns" }, ...sections.map(toggle)] },
      topEnd: { search: { placeholder: "filter methods" } },
    },
  });
}

library().then((DataTable) => {
  document.querySelectorAll("table.board").forEach((table) => enhance(DataTable, table));
  document.documentElement.dataset.ready = "yes";
});
