// What a heat map draws: cells, names, and the marks over them.

import { colour, inkOn } from "./colours.js";
import { elide, number } from "./dom.js";

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {import("./heatmap.js").Matrix} matrix
 * @param {import("./heatmap_layout.js").Plan} plan
 */
export function drawCells(
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
  context.font = theme.type(Math.min(12, Math.max(9, pitch * 0.6)));
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
 * @param {import("./heatmap.js").Matrix} matrix
 * @param {import("./heatmap_layout.js").Plan} plan
 */
export function drawNames(context, theme, { rows, columns, hideRowNames }, plan) {
  const { left, top, cell, pitch, height, width, rowNames, columnNames, slanted, outerHeight } = plan;
  context.font = theme.type(Math.min(11, Math.max(9, pitch - 2)));
  context.fillStyle = theme.ink;
  context.textBaseline = "middle";
  context.textAlign = "right";
  const everyRow = Math.ceil((12 * theme.scale) / pitch);
  if (!hideRowNames) {
    rows.names.forEach((name, i) => {
      if (i % everyRow === 0) context.fillText(elide(context, name, rowNames), left - 7, top + (i + 0.5) * pitch);
    });
  }
  context.font = theme.type(11);
  const everyColumn = Math.ceil((12 * theme.scale) / cell);
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
      context.fillText(name, x, top + height + 12 * theme.scale);
      context.textAlign = "right";
    }
  });
  context.textAlign = "center";
  context.font = theme.type(11.5, 600);
  title(context, theme, columns, left + width / 2, outerHeight - 7, width + left * 0.6);
  if (!hideRowNames) {
    context.save();
    context.translate(8 * theme.scale, top + height / 2);
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
 * @param {import("./heatmap.js").Matrix} matrix
 * @param {import("./heatmap_layout.js").Plan} plan
 */
export function drawMarks(
  context,
  theme,
  { outlined, diagonal, pinned, hovered },
  { left, top, cell, pitch, width, height },
) {
  const gap = Math.min(cell, pitch) >= 9 ? 1 : 0;
  /**
   * @param {import("./heatmap.js").Cell} at
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
