// Under the points: the density as a shade, and a field of arrows.

import { at, tensor } from "../../parts/arrays.js";
import { sharp } from "../../parts/dom.js";

/**
 * @type {WeakMap<Float32Array | Uint8Array, HTMLCanvasElement[]>} shades by theme, of as many densities as are alive
 */
const shades = new WeakMap();

/**
 * The density under a run at one of its steps; null where it is unknown.
 * @param {import("../scene.js").Scene} scene
 * @param {import("../content.js").Run} one
 * @param {number} index
 * @returns {{ row: number, values: import("../../parts/arrays.js").Tensor } | null}
 */
function densityUnder(scene, one, index) {
  const known = scene.content().ground.density;
  if (!known) return null;
  if (scene.span() === scene.content().plane.close)
    return { row: 0, values: /** @type {import("../../parts/arrays.js").Tensor} */ (tensor(scene.model, known.close)) };
  const values = /** @type {import("../../parts/arrays.js").Tensor} */ (tensor(scene.model, known.values));
  let row = known.index.length - 1;
  if (scene.model.get("show") === "states" && index < one.steps) {
    const clock = scene.runs().find(({ name }) => name === known.run) ?? one;
    row = 0;
    while (row + 2 < known.index.length && clock.levels[known.index[row + 1]] <= one.levels[index] + 1e-6) row++;
  }
  return { row, values };
}

/**
 * @param {import("../../parts/arrays.js").Tensor} values
 * @param {number} row
 * @param {import("../../parts/theme.js").Theme} theme
 */
function shadeOf(values, row, theme) {
  const rows = /** @type {Uint8Array} */ (values.data);
  let known = shades.get(rows);
  if (!known) shades.set(rows, (known = []));
  const place = 2 * row + Number(theme.dark);
  if (known[place]) return known[place];
  const [, height, width] = values.shape;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  const { data } = at(values, row);
  const [ink, strength] = theme.dark ? [0xffffff, 0.3] : [0x201d1c, 0.3];
  for (let y = 0; y < height; y++) {
    // The first row of the density is the lowest, that of a canvas the highest.
    for (let x = 0; x < width; x++)
      words[(height - 1 - y) * width + x] = (Math.round(strength * data[y * width + x]) << 24) | ink;
  }
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  known[place] = canvas;
  return canvas;
}

/**
 * Arrows of a run's field at one of its steps, from middles of a lattice; null where it is unknown.
 * @param {import("../scene.js").Scene} scene
 * @param {import("../content.js").Run} one
 * @param {number} index
 * @param {string} kind
 */
export function arrowsOf(scene, one, index, kind) {
  const known = scene.content().ground.fields[one.name];
  if (!known || kind === "nothing" || index >= one.steps) return null;
  let row = 0;
  while (row + 1 < known.index.length && known.index[row + 1] <= index) row++;
  const step = known.index[row];
  const { data } = at(/** @type {import("../../parts/arrays.js").Tensor} */ (tensor(scene.model, known.targets)), row);
  const side = Math.round(Math.sqrt(data.length / 2));
  const [x0, x1, y0, y1] = scene.content().plane.span;
  const [alpha, sigma, alphaRate, sigmaRate] = one.scales[step];
  // Where states are drawn shrunk, so is the way they go: d(x / √(α² + σ²)) / dt.
  const shrunk = scene.shrunk(one);
  const shrink = shrunk ? 1 / Math.hypot(alpha, sigma) : 1;
  const drift = shrunk ? (alpha * alphaRate + sigma * sigmaRate) * shrink ** 2 : 0;
  const arrows = new Float32Array(2 * data.length); // x, y, dx, dy
  let longest = 0;
  for (let i = 0; i < side * side; i++) {
    const place = [
      x0 + (((i % side) + 0.5) * (x1 - x0)) / side,
      y0 + ((Math.floor(i / side) + 0.5) * (y1 - y0)) / side,
    ];
    for (let k = 0; k < 2; k++) {
      const target = data[2 * i + k];
      const noise = (place[k] / shrink - alpha * target) / sigma;
      arrows[4 * i + k] = place[k];
      arrows[4 * i + 2 + k] =
        kind === "score"
          ? -noise / sigma
          : -shrink * (alphaRate * target + sigmaRate * noise - (drift * place[k]) / shrink);
    }
    longest = Math.max(longest, Math.hypot(arrows[4 * i + 2], arrows[4 * i + 3]));
  }
  return { arrows, longest, pitch: (x1 - x0) / side };
}

/**
 * Draw the density of the data under points that are samples: for parts that have a plane of their own.
 * @param {HTMLCanvasElement} canvas
 * @param {import("../scene.js").Scene} scene
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {import("../../parts/plot_axes.js").Scales} scales
 * @param {number} width
 * @param {number} height
 */
export function drawDensity(canvas, scene, theme, scales, width, height) {
  const known = scene.content().ground.density;
  const shown = known && scene.model.get("density");
  const key = JSON.stringify([
    width,
    height,
    theme.dark,
    scene.content().revision,
    shown,
    scales.box,
    scales.x(0),
    scales.x(1),
    scales.y(0),
    scales.y(1),
  ]);
  if (canvas.dataset.drawn === key) return;
  canvas.dataset.drawn = key;
  const context = sharp(canvas, width, height);
  if (!known || !shown) return;
  clip(context, scales);
  drawShade(
    context,
    shadeOf(/** @type {import("../../parts/arrays.js").Tensor} */ (tensor(scene.model, known.close)), 0, theme),
    scales,
    scene.content().plane.close,
  );
  context.restore();
}

/**
 * Draw what lies under the points of a plane.
 * @param {HTMLCanvasElement} canvas
 * @param {import("../scene.js").Scene} scene
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {import("../../parts/plot_axes.js").Scales} scales
 * @param {import("../content.js").Run[]} runs of this plane; the first one's step and field
 * @param {number} width
 * @param {number} height
 */
export function drawGround(canvas, scene, theme, scales, runs, width, height) {
  const { model } = scene;
  const one = runs[0];
  const index = scene.indexOf(one);
  const density = model.get("density") ? densityUnder(scene, one, index) : null;
  const kind = model.get("field");
  const fields = runs
    .map((run) => ({ run, found: arrowsOf(scene, run, scene.indexOf(run), kind) }))
    .filter(({ found }) => found);
  const key = JSON.stringify([
    width,
    height,
    theme.dark,
    theme.paper,
    density?.row ?? null,
    scene.span(),
    scene.content().revision,
    kind,
    fields.map(({ run }) => [run.name, scene.indexOf(run)]),
    scales.box,
  ]);
  if (canvas.dataset.drawn === key) return; // nothing under the points has changed
  canvas.dataset.drawn = key;
  const context = sharp(canvas, width, height);
  clip(context, scales);
  if (density) drawShade(context, shadeOf(density.values, density.row, theme), scales, scene.span());
  for (const { run, found } of fields) {
    if (found) drawArrows(context, found, scales, fields.length > 1 ? scene.colour(run, theme.dark) : theme.ink);
  }
  context.restore();
}

/**
 * Keep what is drawn inside the axes, until the context is restored.
 * @param {CanvasRenderingContext2D} context
 * @param {import("../../parts/plot_axes.js").Scales} scales
 */
function clip(context, { box: { left, right, top, bottom } }) {
  context.save();
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  context.clip();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLCanvasElement} shade
 * @param {import("../../parts/plot_axes.js").Scales} scales
 * @param {[number, number, number, number]} span that it covers
 */
function drawShade(context, shade, scales, [x0, x1, y0, y1]) {
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(shade, scales.x(x0), scales.y(y1), scales.x(x1) - scales.x(x0), scales.y(y0) - scales.y(y1));
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{ arrows: Float32Array, longest: number, pitch: number }} field
 * @param {import("../../parts/plot_axes.js").Scales} scales
 * @param {string} colour
 */
function drawArrows(context, { arrows, longest, pitch }, scales, colour) {
  const most = 0.95 * (scales.x(pitch) - scales.x(0));
  context.strokeStyle = context.fillStyle = colour;
  context.globalAlpha = 0.55;
  context.lineWidth = 1.1;
  context.beginPath();
  const heads = new Path2D();
  for (let i = 0; i < arrows.length; i += 4) {
    const size = Math.hypot(arrows[i + 2], arrows[i + 3]);
    if (!(size > 0)) continue;
    // A root: the score falls over many orders of magnitude, and an arrow under two pixels says nothing.
    const length = most * Math.sqrt(size / longest);
    const [ux, uy] = [arrows[i + 2] / size, -arrows[i + 3] / size];
    const [x, y] = [scales.x(arrows[i]) - (ux * length) / 2, scales.y(arrows[i + 1]) - (uy * length) / 2];
    const [ex, ey] = [x + ux * length, y + uy * length];
    context.moveTo(x, y);
    context.lineTo(ex, ey);
    const head = Math.min(4.5, 0.45 * length);
    heads.moveTo(ex + 1.2 * ux, ey + 1.2 * uy);
    heads.lineTo(ex - head * ux - 0.5 * head * uy, ey - head * uy + 0.5 * head * ux);
    heads.lineTo(ex - head * ux + 0.5 * head * uy, ey - head * uy - 0.5 * head * ux);
    heads.closePath();
  }
  context.stroke();
  context.fill(heads);
  context.globalAlpha = 1;
}
