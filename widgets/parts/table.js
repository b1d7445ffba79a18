// What a view shows, as a table a screen reader can walk through and a spreadsheet can open.

import { el, number } from "./dom.js";

const MOST_ROWS = 2000;

/** @param {import("./frame.js").Table} table */
export function tableView({ columns, rows }) {
  const shown = rows.slice(0, MOST_ROWS);
  return el(
    "div",
    { class: "dw-table", tabindex: 0, "data-testid": "table" },
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ...columns.map((name, k) =>
            el("th", { scope: "col", class: typeof rows[0]?.[k] === "number" ? "dw-number" : "" }, name),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        ...shown.map((row) =>
          el(
            "tr",
            {},
            ...row.map((value) =>
              typeof value === "number"
                ? el("td", { class: "dw-number" }, Number.isInteger(value) ? String(value) : number(value, 4))
                : el("td", {}, value ?? ""),
            ),
          ),
        ),
      ),
    ),
    rows.length > MOST_ROWS &&
      el("p", {}, `… and ${rows.length - MOST_ROWS} more rows: save as CSV, or use .data() in Python`),
  );
}

/** @param {import("./frame.js").Table} table */
export function toCsv({ columns, rows }) {
  const cell = (/** @type {string | number | null} */ value) => {
    const text = value === null || Number.isNaN(value) ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}
