// A matrix of numbers with named rows and columns: hover previews a cell, click or Enter pins it, arrows walk.

import { colour, inkOn } from "./colours.js";
import { el, elide, number, sharp } from "./dom.js";

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
     * @param {number} tall CSS pixels the cells may take
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

/** @typedef {ReturnType<typeof layout>} Plan */

const AXIS = 18; // px for an axis title

const measure = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));

/** px left of the cells where a neighbour shows the row names */
export const BARE_GUTTER = 22;

/**
 * @param {import("./theme.js").Theme} theme
 * @param {string[]} names
 */
function longest(theme, names) {
  measure.font = `11px ${theme.font}`;
  return names.reduce((most, name) => Math.max(most, measure.measureText(name).width), 0);
}

/**
 * px left of the cells for the names of rows that may take up to `room`.
 * @param {import("./theme.js").Theme} theme
 * @param {string[]} names
 * @param {number} room
 */
export function rowGutter(theme, names, room) {
  return Math.ceil(AXIS + Math.min(longest(theme, names), room) + 10);
}

/**
 * @param {import("./theme.js").Theme} theme
 * @param {Matrix} matrix
 * @param {number} width
 * @param {number} tall
 */
function layout(theme, { rows, columns, hideRowNames, rowRoom }, width, tall) {
  const left = hideRowNames ? BARE_GUTTER : rowGutter(theme, rows.names, rowRoom ?? Math.max(96, width * 0.26));
  const rowNames = left - AXIS - 10;
  const room = Math.max(40, width - left - 8);
  const cell = Math.min(180, room / columns.names.length);
  const pitch = Math.max(5, Math.min(72, tall / rows.names.length));
  const widest = longest(theme, columns.names);
  const slanted = widest > cell - 6;
  const columnNames = slanted ? Math.min(widest, 96) : 0;
  const top = 4;
  const height = pitch * rows.names.length;
  const below = slanted ? columnNames * Math.SQRT1_2 + 16 : 20;
  return {
    left,
    top,
    cell,
    pitch,
    rowNames,
    columnNames,
    slanted,
    height,
    width: cell * columns.names.length,
    outerWidth: width,
    outerHeight: Math.ceil(top + height + below + AXIS),
  };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {Matrix} matrix
 * @param {Plan} plan
 */
function drawCells(
  context,
  theme,
  { rows, columns, values, map, low, high, numbers, least },
  { left, top, cell, pitch },
) {
  const gap = Math.min(cell, pitch) >= 9 ? 1 : 0;
  const digits = cell >= 34 ? 2 : cell >= 24 ? 1 : 0;
  const written = numbers && digits && pitch >= 11;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = `${Math.min(12, Math.max(9, pitch * 0.6))}px ${theme.font}`;
  const hatch = hatching(context, theme);
  for (let row = 0; row < rows.names.length; row++) {
    // Whole pixels: neighbouring cells neither overlap nor leave a seam.
    const y0 = Math.round(top + row * pitch);
    const y1 = Math.round(top + (row + 1) * pitch);
    for (let column = 0; column < columns.names.length; column++) {
      const x0 = Math.round(left + column * cell);
      const x1 = Math.round(left + (column + 1) * cell);
      const value = values[row * columns.names.length + column];
      const missing = Number.isNaN(value);
      context.fillStyle = missing ? hatch : colour(map, value, low, high);
      context.fillRect(x0, y0, x1 - x0 - gap, y1 - y0 - gap);
      if (written && !missing && value >= (least ?? -Infinity)) {
        context.fillStyle = inkOn(map, value, low, high);
        context.fillText(number(value, digits), (x0 + x1 - gap) / 2, (y0 + y1 - gap) / 2 + 0.5);
      }
    }
  }
  context.textBaseline = "alphabetic";
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 */
function hatching(context, theme) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 12;
  const brush = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  brush.fillStyle = theme.panel;
  brush.fillRect(0, 0, 12, 12);
  brush.strokeStyle = theme.quiet;
  brush.lineWidth = 1.5;
  brush.beginPath();
  for (const shift of [-12, -6, 0, 6, 12]) {
    brush.moveTo(shift, 12);
    brush.lineTo(shift + 12, 0);
  }
  brush.stroke();
  return /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {Matrix} matrix
 * @param {Plan} plan
 */
function drawNames(context, theme, { rows, columns, hideRowNames }, plan) {
  const { left, top, cell, pitch, height, width, rowNames, columnNames, slanted, outerHeight } = plan;
  context.font = `${Math.min(11, Math.max(9, pitch - 2))}px ${theme.font}`;
  context.fillStyle = theme.ink;
  context.textBaseline = "middle";
  context.textAlign = "right";
  const everyRow = Math.ceil(10 / pitch);
  if (!hideRowNames) {
    rows.names.forEach((name, i) => {
      if (i % everyRow === 0) context.fillText(elide(context, name, rowNames), left - 7, top + (i + 0.5) * pitch);
    });
  }
  context.font = `11px ${theme.font}`;
  const everyColumn = Math.ceil(12 / cell);
  columns.names.forEach((name, j) => {
    if (j % everyColumn) return;
    const x = left + (j + 0.5) * cell;
    if (slanted) {
      context.save();
      context.translate(x + 3, top + height + 8);
      context.rotate(-Math.PI / 4);
      context.fillText(elide(context, name, columnNames), 0, 0);
      context.restore();
    } else {
      context.textAlign = "center";
      context.fillText(name, x, top + height + 12);
      context.textAlign = "right";
    }
  });
  context.textAlign = "center";
  context.font = `600 11.5px ${theme.font}`;
  title(context, theme, columns, left + width / 2, outerHeight - 7, width + left * 0.6);
  if (!hideRowNames) {
    context.save();
    context.translate(8, top + height / 2);
    context.rotate(-Math.PI / 2);
    title(context, theme, rows, 0, 0, height);
    context.restore();
  }
  context.textBaseline = "alphabetic";
}

/**
 * An axis title with the dot of its network's colour.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {{ title: string, colour: string }} axis
 * @param {number} x
 * @param {number} y
 * @param {number} room
 */
function title(context, theme, axis, x, y, room) {
  const text = elide(context, axis.title, room - 14);
  const half = context.measureText(text).width / 2;
  context.fillStyle = axis.colour;
  context.beginPath();
  context.arc(x - half - 4, y, 3.5, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = theme.ink;
  context.fillText(text, x + 4, y);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {Matrix} matrix
 * @param {Plan} plan
 */
function drawMarks(context, theme, { outlined, diagonal, pinned, hovered }, { left, top, cell, pitch, width, height }) {
  const gap = Math.min(cell, pitch) >= 9 ? 1 : 0;
  /**
   * @param {Cell} at
   * @param {number} line
   * @param {string} ink
   * @param {number} [inset]
   */
  const box = ([row, column], line, ink, inset = 0) => {
    const x0 = Math.round(left + column * cell) + inset;
    const y0 = Math.round(top + row * pitch) + inset;
    const x1 = Math.round(left + (column + 1) * cell) - gap - inset;
    const y1 = Math.round(top + (row + 1) * pitch) - gap - inset;
    context.lineWidth = line;
    context.strokeStyle = ink;
    context.strokeRect(x0 + line / 2, y0 + line / 2, x1 - x0 - line, y1 - y0 - line);
  };
  // White inside black shows on every colour of the map.
  for (const cellAt of outlined) {
    box(cellAt, 2, "#000");
    box(cellAt, 1, "#fff", 1);
  }
  if (diagonal) {
    for (const [line, ink, dash] of /** @type {[number, string, number[]][]} */ ([
      [3, "rgba(0,0,0,.55)", []],
      [1.25, "#fff", [5, 4]],
    ])) {
      context.setLineDash(dash);
      context.lineWidth = line;
      context.strokeStyle = ink;
      context.beginPath();
      context.moveTo(left, top);
      context.lineTo(left + width, top + height);
      context.stroke();
    }
    context.setLineDash([]);
  }
  if (hovered) {
    const [row, column] = hovered;
    context.fillStyle = theme.focus;
    // Ticks at both names lead the eye from the cell to what it compares.
    context.fillRect(left - 4, top + row * pitch, 3, pitch - gap);
    context.fillRect(left + column * cell, top + height + 1, cell - gap, 3);
    box(hovered, 3, theme.ink, -1.5);
    box(hovered, 1.5, theme.paper, 1);
  }
  if (pinned) {
    box(pinned, 3, theme.focus, -2);
    box(pinned, 1.5, "#fff", 1);
  }
}
