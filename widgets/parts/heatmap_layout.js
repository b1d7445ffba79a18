// Where the cells and names of a heat map lie.

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
  measure.font = theme.type(11);
  return names.reduce((most, name) => Math.max(most, measure.measureText(name).width), 0);
}

/**
 * px left of the cells for the names of rows that may take up to `room`.
 * @param {import("./theme.js").Theme} theme
 * @param {string[]} names
 * @param {number} room
 */
export function rowGutter(theme, names, room) {
  return Math.ceil(AXIS * theme.scale + Math.min(longest(theme, names), room) + 10);
}

/**
 * @param {import("./theme.js").Theme} theme
 * @param {import("./heatmap.js").Matrix} matrix
 * @param {number} width
 * @param {number} tall
 */
export function layout(theme, { rows, columns, hideRowNames, rowRoom }, width, tall) {
  const left = hideRowNames ? BARE_GUTTER : rowGutter(theme, rows.names, rowRoom ?? Math.max(96, width * 0.26));
  const axis = AXIS * theme.scale;
  const rowNames = left - axis - 10;
  const room = Math.max(40, width - left - 8);
  const cell = Math.min(180, room / columns.names.length);
  const widest = longest(theme, columns.names);
  const slanted = widest > cell - 6;
  const columnNames = slanted ? Math.min(widest, 96 * theme.scale) : 0;
  const top = 4;
  const below = slanted ? columnNames * Math.SQRT1_2 + 16 : 20 * theme.scale;
  const pitch = Math.max(5, Math.min(72, (tall - top - below - axis) / rows.names.length));
  const height = pitch * rows.names.length;
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
    outerHeight: Math.ceil(top + height + below + axis),
  };
}
