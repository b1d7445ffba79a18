// Pictures of the strip, drawn from sheets: all steps of one seed on one canvas, made when it is first needed.

import { at, tensor } from "../../parts/arrays.js";
import { paint } from "../scene.js";

const MOST = 400; // sheets kept
const DOTS = 300; // seeds in a small plane

/** @param {import("../scene.js").Scene} scene */
export function createSheets(scene) {
  /** @type {Map<string, HTMLCanvasElement>} */
  const sheets = new Map();
  let of = /** @type {any} */ (null);

  /**
   * @param {import("../content.js").Run} run
   * @param {import("../scene.js").Kind} kind
   * @param {number} seed
   */
  function sheet(run, kind, seed) {
    const source = tensor(scene.model, kind === "states" ? run.states : run.targets);
    if (!source || seed >= source.shape[1]) return null;
    if (of !== scene.model.get("arrays")) {
      sheets.clear();
      of = scene.model.get("arrays");
    }
    const key = `${run.name} ${kind} ${seed}`;
    const known = sheets.get(key);
    if (known) return known;
    const [steps, , channels, height, width] = source.shape;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [steps * width, height];
    const image = new ImageData(steps * width, height);
    const words = new Uint32Array(image.data.buffer);
    for (let k = 0; k < steps; k++)
      paint(
        /** @type {Uint8Array} */ (at(source, k, seed).data),
        channels,
        words,
        k * width,
        steps * width,
        width,
        height,
      );
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    if (sheets.size >= MOST) sheets.clear();
    sheets.set(key, canvas);
    return canvas;
  }

  return {
    /**
     * Draw one picture, as large as fits a square; of points, whose seed is −1, a small plane of all of them.
     * @param {CanvasRenderingContext2D} context
     * @param {import("../content.js").Run} run
     * @param {import("../scene.js").Kind} kind
     * @param {number} index
     * @param {number} seed
     * @param {number} x
     * @param {number} y
     * @param {number} size
     * @param {import("../../parts/theme.js").Theme} [theme] for a plane
     */
    draw(context, run, kind, index, seed, x, y, size, theme) {
      if (seed < 0) return void (theme && small(context, run, kind, index, x, y, size, theme));
      const found = sheet(run, kind, seed);
      if (!found) {
        context.strokeStyle = "#888";
        context.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
        return;
      }
      const [, height, width] = scene.content().shape;
      const scale = size / Math.max(width, height);
      context.drawImage(
        found,
        index * width,
        0,
        width,
        height,
        x + (size - width * scale) / 2,
        y + (size - height * scale) / 2,
        width * scale,
        height * scale,
      );
    },
  };

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("../content.js").Run} run
   * @param {import("../scene.js").Kind} kind
   * @param {number} index
   * @param {number} x
   * @param {number} y
   * @param {number} size
   * @param {import("../../parts/theme.js").Theme} theme
   */
  function small(context, run, kind, index, x, y, size, theme) {
    const [x0, x1, y0, y1] = scene.content().plane.close;
    const cloud = scene.cloud(run, kind, index);
    context.fillStyle = theme.panel;
    context.fillRect(x, y, size, size);
    context.fillStyle = scene.colour(run, theme.dark);
    const dot = size > 40 ? 1.8 : 1.2;
    context.beginPath();
    for (let i = 0; i < Math.min(cloud.length, 2 * DOTS); i += 2) {
      const [u, v] = [(cloud[i] - x0) / (x1 - x0), (cloud[i + 1] - y0) / (y1 - y0)];
      if (u > 0 && u < 1 && v > 0 && v < 1)
        context.rect(x + u * size - dot / 2, y + (1 - v) * size - dot / 2, dot, dot);
    }
    context.fill();
  }
}
