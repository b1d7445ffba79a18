// One picture of the atlas on two canvases: images below; above them names, selection, cursor and what is being drawn.

import { createPages } from "./texture.js";
import { classColour, isHollow } from "../../parts/colours.js";
import { el, elide, number, sharp } from "../../parts/dom.js";

/** What an atlas shows.
 * @typedef {object} Picture
 * @property {string} label for a screen reader
 * @property {import("./layout.js").Layout} layout
 * @property {import("./viewport.js").Viewport} viewport
 * @property {import("./texture.js").Source} source
 * @property {(row: number) => number} strip colour under an image where classes mix
 * @property {Set<number>} selected
 * @property {number | null} hovered
 * @property {[number, number][] | null} outline being drawn, px of the stage
 * @property {(row: number, x: number, y: number) => number[] | null} values written into pixels that are large enough
 * @property {(values: number[]) => string} ink that reads well on a pixel of these values
 */

const LEGIBLE = 34; // px of a pixel that its value fits into

/**
 * @param {string} testid
 */
export function createAtlas(testid) {
  const base = el("canvas", { "aria-hidden": "true" });
  const over = el("canvas", {
    class: "dw-over",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "image atlas",
    "data-testid": testid,
  });
  const node = el("div", { class: "dw-atlas" }, base, over);
  const pages = createPages();
  let told = /** @type {import("./layout.js").Layout | null} */ (null);

  return {
    node,
    canvas: over,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {Picture} picture
     * @param {number} width
     * @param {number} height
     */
    draw(theme, picture, width, height) {
      const { layout, viewport, source, strip } = picture;
      const view = viewport.now();
      const below = sharp(base, width, height);
      pages.draw(below, layout, source, strip, view, width, height);
      if (view.scale >= LEGIBLE) writeValues(below, theme, picture, view, width, height);
      const context = sharp(over, width, height);
      drawHeaders(context, theme, layout, view, width, height);
      drawSelected(context, theme, picture, view, width, height);
      if (picture.outline?.length) drawOutline(context, theme, picture.outline);
      over.setAttribute("aria-label", picture.label);
      // Where the images lie, so that a test or a lesson can point at one.
      over.dataset.view = [view.x, view.y, view.scale].map((value) => value.toFixed(4)).join(" ");
      if (told !== layout) {
        told = layout;
        over.dataset.grid = [layout.columns, ...layout.pitch, layout.size[1], layout.size[0]].join(" ");
        over.dataset.blocks = layout.placed
          .map(({ x, y, block }) => `${x.toFixed(4)} ${y.toFixed(4)} ${block.rows.length}`)
          .join(";");
      }
    },
  };
}

/** @typedef {{ x: number, y: number, scale: number }} View */

/**
 * Names of the classes above their images; while a block is seen without its beginning, its name stays at the edge.
 * @param {CanvasRenderingContext2D} context
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {import("./layout.js").Layout} layout
 * @param {View} view
 * @param {number} width
 * @param {number} height
 */
function drawHeaders(context, theme, layout, view, width, height) {
  context.font = theme.type(12, 600);
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const { block, x, y, lines } of layout.placed) {
    if (!block.title) continue;
    const left = (x - view.x) * view.scale;
    const top = (y - view.y) * view.scale;
    const right = left + layout.columns * layout.pitch[0] * view.scale;
    const bottom = top + lines * layout.pitch[1] * view.scale;
    if (right < 20 || left > width - 20 || bottom < 14 || top > height + 18) continue;
    const at = Math.max(2, left);
    const line = Math.max(10, Math.min(top - 9, bottom - 10));
    const room = Math.min(width, right) - at;
    const name = elide(context, block.title, room - 14);
    const count = ` ${block.rows.length.toLocaleString("en")}`;
    const text = context.measureText(name).width;
    const whole = room - 14 - text > context.measureText(count).width;
    if (line > top - 4 || left < 0) {
      context.globalAlpha = 0.86; // over images
      context.fillStyle = theme.paper;
      context.fillRect(at - 2, line - 9, 18 + text + (whole ? context.measureText(count).width : 0), 18);
      context.globalAlpha = 1;
    }
    const colour = classColour(block.colour, theme.dark);
    context.beginPath();
    context.arc(at + 5, line, 3.5, 0, 2 * Math.PI);
    context.lineWidth = 2;
    context.strokeStyle = context.fillStyle = colour;
    if (isHollow(block.colour)) context.stroke();
    else context.fill();
    context.fillStyle = theme.ink;
    context.fillText(name, at + 13, line + 0.5);
    context.font = theme.type(11);
    context.fillStyle = theme.quiet;
    if (whole) context.fillText(count, at + 13 + text, line + 0.5);
    context.font = theme.type(12, 600);
  }
  context.textBaseline = "alphabetic";
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {Picture} picture
 * @param {View} view
 * @param {number} width
 * @param {number} height
 */
function drawSelected(context, theme, { layout, selected, hovered }, view, width, height) {
  const [h, w] = layout.size;
  const screen = (/** @type {number} */ u, /** @type {number} */ v) => [
    (u - view.x) * view.scale,
    (v - view.y) * view.scale,
  ];
  if (selected.size) {
    const small = w * view.scale < 20;
    /** @type {[number, number, number][]} neighbours in a line are framed together where they are tiny */
    const runs = [];
    const seen = layout.touching(view.x, view.y, view.x + width / view.scale, view.y + height / view.scale);
    for (const row of seen) {
      if (!selected.has(row)) continue;
      const [u, v] = /** @type {[number, number]} */ (layout.corner(row));
      const last = runs.at(-1);
      if (small && last && last[1] === v && Math.abs(last[0] + last[2] + layout.gap - u) < 0.01)
        last[2] = u + w - last[0];
      else runs.push([u, v, w]);
    }
    for (const [colour, line, inset] of /** @type {[string, number, number][]} */ ([
      [theme.paper, small ? 2.5 : 5, 0],
      [theme.focus, small ? 1.5 : 3, 0],
    ])) {
      context.beginPath();
      for (const [u, v, length] of runs) {
        const [left, top] = screen(u, v);
        context.rect(left - 1 + inset, top - 1 + inset, length * view.scale + 2, h * view.scale + 2);
      }
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.stroke();
    }
    if (small) {
      context.globalAlpha = 0.3;
      context.fillStyle = theme.focus;
      context.fill();
      context.globalAlpha = 1;
    }
  }
  const corner = hovered === null ? null : layout.corner(hovered);
  if (corner) {
    const [left, top] = screen(...corner);
    for (const [colour, line, grow] of /** @type {[string, number, number][]} */ ([
      [theme.ink, 2.5, 2],
      [theme.paper, 1, 0.5],
    ])) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(left - grow, top - grow, w * view.scale + 2 * grow, h * view.scale + 2 * grow);
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {[number, number][]} line
 */
function drawOutline(context, theme, line) {
  context.beginPath();
  line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.globalAlpha = 0.14;
  context.fillStyle = theme.focus;
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = theme.focus;
  context.lineWidth = 1.5;
  context.setLineDash([5, 3]);
  context.stroke();
  context.setLineDash([]);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {Picture} picture
 * @param {View} view
 * @param {number} width
 * @param {number} height
 */
function writeValues(context, theme, { layout, values, ink }, view, width, height) {
  const [h, w] = layout.size;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const row of layout.touching(view.x, view.y, view.x + width / view.scale, view.y + height / view.scale)) {
    const [left, top] = /** @type {[number, number]} */ (layout.corner(row));
    const [x0, y0] = [Math.max(0, Math.floor(view.x - left)), Math.max(0, Math.floor(view.y - top))];
    const [x1, y1] = [
      Math.min(w, Math.ceil(view.x + width / view.scale - left)),
      Math.min(h, Math.ceil(view.y + height / view.scale - top)),
    ];
    for (let y = y0; y < y1; y++) {
      for (let x = x0; x < x1; x++) {
        const found = values(row, x, y);
        if (!found || found.length > 3) continue;
        const size = Math.min(13, (view.scale / Math.max(2.6, found.length * 1.25)) * 0.92);
        context.font = theme.type(size);
        const [cx, cy] = [(left + x + 0.5 - view.x) * view.scale, (top + y + 0.5 - view.y) * view.scale];
        context.fillStyle = ink(found);
        found.forEach((value, c) =>
          context.fillText(number(value, 2), cx, cy + (c - (found.length - 1) / 2) * size * 1.1),
        );
      }
    }
  }
  context.textBaseline = "alphabetic";
}
