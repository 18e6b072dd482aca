"use strict";
(() => {
  const cells = (row, k) => row.children[k];
  const key = (cell, kind) => {
    if (kind === "text") return cell.textContent;
    const value = cell.dataset.v;
    return value === "" || value === "nan" ? NaN : Number(value.replace("inf", "Infinity"));
  };
  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
    if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 2;
    return Number.isNaN(b) ? -2 : a - b;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    let column = 0;
    for (const head of heads) {
      const place = column;
      column += head.colSpan;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].map((row) => [key(cells(row, place), head.dataset.kind), row]);
        rows.sort(([a], [b]) => {
          const order = compare(a, b);
          return Math.abs(order) === 2 && typeof a !== "string" && (Number.isNaN(a) || Number.isNaN(b))
            ? order : (down ? -order : order);
        });
        body.append(...rows.map(([, row]) => row));
      });
    }
  }
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", open);
  open();
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", () => {
      const target = document.getElementById(link.hash.slice(1));
      if (target) target.open = true;
    });
  }
  const panels = [...document.querySelectorAll("details.panel")];
  for (const button of document.querySelectorAll("[data-toggle]")) {
    button.addEventListener("click", () => {
      const show = !panels.every((panel) => panel.open);
      for (const panel of panels) panel.open = show;
      button.textContent = show ? "Close all" : "Open all";
    });
  }
  const filters = [...document.querySelectorAll("[data-filter]")];
  for (const button of filters) {
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of filters) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(on));
      for (const item of document.querySelectorAll("[data-verdict]")) {
        item.hidden = on && item.dataset.verdict !== button.dataset.filter;
      }
    });
  }
})();
