// A matrix of numbers with named rows and columns: hover previews a cell, click or Enter pins it, arrows walk.

import { el, sharp } from "./dom.js";
import { drawCells, drawMarks, drawNames } from "./heatmap_draw.js";
import { layout } from "./heatmap_layout.js";

/** @typedef {[number, number]} Cell row and column */

/** What a heat map shows.
 * @typedef {object} Matrix
 * @property {string} label what the whole is, for a screen reader
 * @property {{ title: string, colour: string, names: string[] }} rows
 * @property {{ title: string, colour: string, names: string[] }} columns
 * @property {ArrayLike<number>} values row by row; NaN is hatched
 * @property {import("./colours.js").MapName} map
 * @property {number} low
 * @property {number} high
 * @property {Cell[]} outlined
 * @property {boolean} diagonal
 * @property {boolean} numbers
 * @property {number} [least] numbers below it are not written: a matrix that is mostly zero reads better so
 * @property {Cell | null} pinned
 * @property {Cell | null} hovered
 * @property {boolean} [hideRowNames] a neighbour on the left shows them
 * @property {number} [rowRoom] px that row names may take; a quarter of the width when left out
 */

/** What it tells.
 * @typedef {object} HeatMapEvents
 * @property {(cell: Cell | null, point: { x: number, y: number } | null) => void} hover
 * @property {(cell: Cell) => void} pin
 * @property {(axis: "rows" | "columns" | null, index: number, point: { x: number, y: number }) => void} name a row
 *   or column name under the cursor
 * @property {(cell: Cell) => string} describe for a screen reader
 */

/**
 * @param {import("./frame.js").Frame} frame
 * @param {string} testid
 * @param {HeatMapEvents} events
 */
export function createHeatMap(frame, testid, events) {
  const base = el("canvas", { "aria-hidden": "true" });
  const over = el("canvas", {
    class: "dw-over",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "heat map",
    "data-testid": testid,
  });
  const node = el("div", { class: "dw-heatmap" }, base, over);
  /** @type {Matrix | null} */
  let matrix = null;
  /** @type {Cell | null} the cell under the cursor, known before it has been drawn: keys come faster than frames */
  let cursor = null;
  let geometry = { left: 0, top: 0, width: 0, height: 0, cell: 0, pitch: 0 };
  let painted = /** @type {any[]} */ ([]);

  /**
   * @param {PointerEvent | MouseEvent} event
   * @returns {{ cell: Cell | null, axis: "rows" | "columns" | null, index: number }}
   */
  function under(event) {
    const bounds = over.getBoundingClientRect();
    const column = Math.floor((event.clientX - bounds.left - geometry.left) / geometry.cell);
    const row = Math.floor((event.clientY - bounds.top - geometry.top) / geometry.pitch);
    const inColumns = column >= 0 && column < (matrix?.columns.names.length ?? 0);
    const inRows = row >= 0 && row < (matrix?.rows.names.length ?? 0);
    if (inRows && inColumns) return { cell: [row, column], axis: null, index: -1 };
    if (inRows && column < 0) return { cell: null, axis: "rows", index: row };
    if (inColumns && event.clientY - bounds.top > geometry.top + geometry.height)
      return { cell: null, axis: "columns", index: column };
    return { cell: null, axis: null, index: -1 };
  }

  frame.listen(over, "pointermove", (/** @type {PointerEvent} */ event) => {
    const { cell, axis, index } = under(event);
    const point = { x: event.clientX, y: event.clientY };
    over.style.cursor = cell ? "pointer" : "default";
    cursor = cell;
    events.hover(cell, cell && point);
    if (!cell) events.name(axis, index, point);
  });
  const leave = () => {
    cursor = null;
    events.hover(null, null);
  };
  frame.listen(over, "pointerleave", leave);
  frame.listen(over, "click", (/** @type {MouseEvent} */ event) => {
    const { cell } = under(event);
    if (cell) events.pin(cell);
  });
  frame.listen(over, "blur", leave);
  frame.listen(over, "keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!matrix || event.ctrlKey || event.metaKey || event.altKey) return;
    const from = cursor ?? matrix.pinned;
    const [row, column] = from ?? [0, 0];
    const [rows, columns] = [matrix.rows.names.length, matrix.columns.names.length];
    /** @type {Record<string, Cell>} */
    const moves = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      PageUp: [0, column],
      PageDown: [rows - 1, column],
    };
    if (event.key === "Enter" && from) events.pin(from);
    else if (moves[event.key]) {
      const [r, c] = from ? moves[event.key] : [0, 0];
      /** @type {Cell} */
      const next = [Math.max(0, Math.min(rows - 1, r)), Math.max(0, Math.min(columns - 1, c))];
      const bounds = over.getBoundingClientRect();
      cursor = next;
      events.hover(next, {
        x: bounds.left + geometry.left + (next[1] + 1) * geometry.cell,
        y: bounds.top + geometry.top + (next[0] + 0.5) * geometry.pitch,
      });
      frame.say(events.describe(next));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    node,
    canvas: over,
    /** The middle of a cell in the window, for tests and for linked tooltips.
     * @param {Cell} cell */
    centre([row, column]) {
      const bounds = over.getBoundingClientRect();
      return {
        x: bounds.left + geometry.left + (column + 0.5) * geometry.cell,
        y: bounds.top + geometry.top + (row + 0.5) * geometry.pitch,
      };
    },
    /**
     * @param {import("./theme.js").Theme} theme
     * @param {Matrix} next
     * @param {number} width CSS pixels there are
     * @param {number} tall CSS pixels it may take with its names
     */
    update(theme, next, width, tall) {
      matrix = next;
      const plan = layout(theme, next, width, tall);
      geometry = plan;
      const signature = [
        theme.ink,
        theme.paper,
        next.values,
        next.map,
        next.low,
        next.high,
        next.numbers,
        next.rows,
        next.columns,
        next.hideRowNames,
        width,
        tall,
        globalThis.devicePixelRatio,
      ];
      // The cells are drawn again only when they change; hovering repaints the thin layer above them.
      if (signature.some((value, i) => value !== painted[i])) {
        painted = signature;
        const context = sharp(base, plan.outerWidth, plan.outerHeight);
        drawCells(context, theme, next, plan);
        drawNames(context, theme, next, plan);
      }
      const context = sharp(over, plan.outerWidth, plan.outerHeight);
      drawMarks(context, theme, next, plan);
      over.setAttribute("aria-label", `${next.label}. Arrow keys move, Enter pins.`);
      // Where the cells lie, so that a test or a lesson can point at one.
      over.dataset.geometry = [plan.left, plan.top, plan.cell, plan.pitch].map((value) => value.toFixed(2)).join(" ");
    },
  };
}
