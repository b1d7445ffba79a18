// The layers of a plot on axes that are there: lines, bands, segments, bars, points, a cursor and a ring.

/** One layer, drawn in the order given; colours are CSS colours.
 * @typedef {object} Layer
 * @property {"line" | "band" | "points" | "bars" | "segments"} kind
 * @property {ArrayLike<number>} x
 * @property {ArrayLike<number>} y of a band its upper edge, of a segment its end
 * @property {ArrayLike<number>} [low] of a band its lower edge, of a segment its start
 * @property {string} colour
 * @property {string} [name] shown when the cursor is at its x
 * @property {number} [width] line width, or a point's diameter, in pixels
 * @property {number[]} [dash]
 * @property {number} [opacity]
 * @property {boolean} [hollow]
 */

/** @type {Map<string, { canvas: HTMLCanvasElement, size: number }>} */
const stamps = new Map();

/**
 * One point, drawn once and then stamped: filling hundreds of circles takes most of a frame.
 * @param {string} colour
 * @param {string} paper
 * @param {number} width
 * @param {boolean} hollow
 */
function stamp(colour, paper, width, hollow) {
  const ratio = Math.min(3, globalThis.devicePixelRatio || 1);
  const key = [colour, paper, width, hollow, ratio].join();
  let found = stamps.get(key);
  if (!found) {
    if (stamps.size > 200) stamps.clear();
    const size = Math.ceil(width) + 4;
    const canvas = document.createElement("canvas");
    const fine = 2 * ratio; // stamped between pixels, a finer picture stays round
    canvas.width = canvas.height = Math.round(size * fine);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(fine, fine);
    context.beginPath();
    context.arc(size / 2, size / 2, width / 2, 0, 2 * Math.PI);
    context.strokeStyle = hollow ? colour : paper;
    context.lineWidth = hollow ? 1.5 : 1;
    context.fillStyle = colour;
    if (!hollow) context.fill();
    context.stroke();
    stamps.set(key, (found = { canvas, size }));
  }
  return found;
}

/**
 * Draw the layers of a chart, its cursor and its ring, on axes that are there.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {Pick<import("./plot.js").Chart, "layers" | "cursor" | "ring">} chart
 * @param {import("./plot_axes.js").Scales} scales
 */
export function paint(context, theme, chart, { x, y, box }) {
  context.save();
  context.beginPath();
  context.rect(box.left - 6, box.top - 6, box.right - box.left + 12, box.bottom - box.top + 7);
  context.clip();
  context.lineJoin = "round";
  for (const layer of chart.layers) {
    context.globalAlpha = layer.opacity ?? 1;
    context.strokeStyle = context.fillStyle = layer.colour;
    context.lineWidth = (layer.width ?? 2) * theme.scale;
    context.setLineDash(layer.dash ?? []);
    const count = layer.x.length;
    context.beginPath();
    if (layer.kind === "line") {
      let pen = false;
      for (let i = 0; i < count; i++) {
        if (!Number.isFinite(layer.y[i])) pen = false;
        else if (pen) context.lineTo(x(layer.x[i]), y(layer.y[i]));
        else {
          context.moveTo(x(layer.x[i]), y(layer.y[i]));
          pen = true;
        }
      }
      context.stroke();
    } else if (layer.kind === "band") {
      const low = /** @type {ArrayLike<number>} */ (layer.low);
      for (let i = 0; i < count; i++) context.lineTo(x(layer.x[i]), y(layer.y[i]));
      for (let i = count - 1; i >= 0; i--) context.lineTo(x(layer.x[i]), y(low[i]));
      context.closePath();
      context.fill();
    } else if (layer.kind === "segments") {
      const low = /** @type {ArrayLike<number>} */ (layer.low);
      const wide = (layer.width ?? 2) * theme.scale;
      // Upright rectangles, not one path of strokes: hundreds of them are drawn while a slider moves.
      for (let i = 0; i < count; i++) {
        const [from, to] = [y(low[i]), y(layer.y[i])];
        context.fillRect(x(layer.x[i]) - wide / 2, Math.min(from, to), wide, Math.abs(from - to));
      }
    } else if (layer.kind === "bars") {
      const wide = Math.max(1, (layer.width ?? 0.8) * Math.abs(x(1) - x(0)));
      for (let i = 0; i < count; i++) {
        const top = Math.max(box.top - 2, y(layer.y[i]));
        if (Number.isFinite(top)) context.rect(x(layer.x[i]) - wide / 2, top, wide, Math.max(0, box.bottom - top));
      }
      if (layer.hollow) {
        context.lineWidth = 1;
        context.stroke();
      } else context.fill();
    } else {
      const dot = stamp(layer.colour, theme.paper, (layer.width ?? 7) * theme.scale, layer.hollow ?? false);
      const half = dot.size / 2;
      for (let i = 0; i < count; i++) {
        if (Number.isFinite(layer.y[i]))
          context.drawImage(dot.canvas, x(layer.x[i]) - half, y(layer.y[i]) - half, dot.size, dot.size);
      }
    }
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  if (chart.cursor !== null && chart.cursor !== undefined) {
    context.strokeStyle = theme.ink;
    context.lineWidth = 1;
    const at = Math.round(x(chart.cursor)) + 0.5;
    context.beginPath();
    context.moveTo(at, box.top);
    context.lineTo(at, box.bottom);
    context.stroke();
  }
  if (chart.ring) {
    const [px, py] = [x(chart.ring.x), y(chart.ring.y)];
    context.strokeStyle = chart.ring.colour;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(px, py, 6 * theme.scale, 0, 2 * Math.PI);
    context.stroke();
    context.font = theme.type(11, 600);
    context.textAlign = px > (box.left + box.right) / 2 ? "right" : "left";
    context.strokeStyle = theme.paper;
    context.lineWidth = 3;
    const place = /** @type {const} */ ([
      px + (px > (box.left + box.right) / 2 ? -9 : 9),
      py < (box.top + box.bottom) / 2 ? py + 16 : py - 9,
    ]);
    context.strokeText(chart.ring.text, ...place);
    context.fillStyle = theme.ink;
    context.fillText(chart.ring.text, ...place);
  }
  context.restore();
}
