// The atlas as pictures: each block of images is painted once, with halves of it for when it is drawn smaller.

import { table } from "../../parts/colours.js";

/** What images look like: paints image `row` into `out` from `offset` on, where a line of pixels takes `stride`.
 * @typedef {{ key: any[], paint: (row: number, out: Uint32Array, offset: number, stride: number) => void }} Source */

const OPAQUE = 0xff000000;

/**
 * Images as they are; an image that the side does not have is one even `blank`.
 * @param {import("../data.js").Side} side
 * @param {[number, number, number]} shape
 * @param {[number, number]} range raw values that are black and white
 * @param {number} blank colour as a canvas stores it
 * @returns {Source}
 */
export function imageSource(side, [channels, height, width], range, blank) {
  const { data, low, high } = side.pixels;
  const shade = new Uint8ClampedArray(256);
  for (let i = 0; i < 256; i++)
    shade[i] = (255 * (low + (i / 255) * (high - low) - range[0])) / (range[1] - range[0] || 1);
  const area = height * width;
  const [green, blue] = channels >= 3 ? [area, 2 * area] : [0, 0];
  return {
    key: [data, side.rows, range[0], range[1], blank],
    paint(row, out, offset, stride) {
      const own = side.rows ? side.rows[row] : row;
      if (own < 0) return fillBlank(out, offset, stride, width, height, blank);
      let from = own * channels * area;
      for (let y = 0; y < height; y++) {
        let to = offset + y * stride;
        for (let x = 0; x < width; x++, from++)
          out[to++] = OPAQUE | (shade[data[from + blue]] << 16) | (shade[data[from + green]] << 8) | shade[data[from]];
      }
    },
  };
}

/**
 * The first side minus the second, mean over channels, from −limit to +limit.
 * @param {import("../data.js").Side} one
 * @param {import("../data.js").Side} other
 * @param {[number, number, number]} shape
 * @param {number} limit
 * @param {import("../../parts/colours.js").MapName} map
 * @param {number} blank
 * @returns {Source}
 */
export function differenceSource(one, other, [channels, height, width], limit, map, blank) {
  const rgb = table(map);
  const colours = Uint32Array.from(
    { length: 256 },
    (_, i) => OPAQUE | (rgb[3 * i + 2] << 16) | (rgb[3 * i + 1] << 8) | rgb[3 * i],
  );
  const area = height * width;
  const [gain, shift] = [127.5 / (limit || 1) / channels, 127.5];
  const [grow, grow2] = [one, other].map(({ pixels }) => (pixels.high - pixels.low) / 255);
  const rest = channels * (one.pixels.low - other.pixels.low);
  return {
    key: [one.pixels.data, other.pixels.data, other.rows, limit, map, blank],
    paint(row, out, offset, stride) {
      const partner = other.rows ? other.rows[row] : row;
      if (partner < 0) return fillBlank(out, offset, stride, width, height, blank);
      const [a, b] = [row * channels * area, partner * channels * area];
      for (let i = 0; i < area; i++) {
        let sum = rest;
        for (let c = 0; c < channels; c++)
          sum += grow * one.pixels.data[a + c * area + i] - grow2 * other.pixels.data[b + c * area + i];
        const level = Math.max(0, Math.min(255, Math.round(shift + gain * sum)));
        out[offset + Math.floor(i / width) * stride + (i % width)] = colours[level];
      }
    },
  };
}

/**
 * Largest magnitude of that difference over the images both sides have.
 * @param {import("../data.js").Side} one
 * @param {import("../data.js").Side} other
 * @param {[number, number, number]} shape
 * @param {number} count
 */
export function largestDifference(one, other, [channels, height, width], count) {
  const area = height * width;
  const [grow, grow2] = [one, other].map(({ pixels }) => (pixels.high - pixels.low) / 255);
  const rest = channels * (one.pixels.low - other.pixels.low);
  let most = 0;
  for (let row = 0; row < count; row++) {
    const partner = other.rows ? other.rows[row] : row;
    if (partner < 0) continue;
    const [a, b] = [row * channels * area, partner * channels * area];
    for (let i = 0; i < area; i++) {
      let sum = rest;
      for (let c = 0; c < channels; c++)
        sum += grow * one.pixels.data[a + c * area + i] - grow2 * other.pixels.data[b + c * area + i];
      if (sum > most) most = sum;
      else if (-sum > most) most = -sum;
    }
  }
  return most / channels;
}

/**
 * @param {Uint32Array} out
 * @param {number} offset
 * @param {number} stride
 * @param {number} width
 * @param {number} height
 * @param {number} blank
 */
function fillBlank(out, offset, stride, width, height, blank) {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) out[offset + y * stride + x] = (x - y) % 6 === 0 ? 0 : blank;
  }
}

/**
 * @typedef {{ sheet: HTMLCanvasElement[], image: ImageData, words: Uint32Array, columns: number, rows: number[] |
 *   null, key: any[], strip: number }} Page
 */

/** The pages of one atlas: one per block. */
export function createPages() {
  /** @type {Page[]} */
  let pages = [];

  /**
   * The page of block `k` at a level (each half as large as the one before), painted if need be.
   * @param {import("./layout.js").Layout} layout
   * @param {number} k
   * @param {Source} source
   * @param {(row: number) => number} strip colour under an image, 0 for none
   * @param {number} level
   */
  function page(layout, k, source, strip, level) {
    const { block, lines } = layout.placed[k];
    const { columns, pitch } = layout;
    const [width, height] = [columns * pitch[0], lines * pitch[1]];
    let found = pages[k];
    if (!found || found.image.width !== width || found.image.height !== height) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [width, height];
      const image = new ImageData(width, height);
      found = pages[k] = {
        sheet: [canvas],
        image,
        words: new Uint32Array(image.data.buffer),
        columns,
        rows: null,
        key: [],
        strip: 0,
      };
    }
    const mark = block.colour < 0 && block.rows.length ? strip(block.rows[0]) : 0;
    const same = found.rows === block.rows && found.columns === columns && found.strip === mark;
    if (!same || source.key.some((value, i) => value !== found.key[i]) || source.key.length !== found.key.length) {
      if (!same) found.words.fill(0);
      block.rows.forEach((row, place) => {
        const offset = Math.floor(place / columns) * pitch[1] * width + (place % columns) * pitch[0];
        source.paint(row, found.words, offset, width);
        for (let line = 0; mark && !same && line < layout.gap; line++) {
          const under = offset + (layout.size[0] + line) * width;
          found.words.fill(strip(row), under, under + layout.size[1]);
        }
      });
      found.sheet.length = 1;
      found.sheet[0].getContext("2d")?.putImageData(found.image, 0, 0);
      Object.assign(found, { rows: block.rows, columns, key: source.key, strip: mark });
    }
    for (let l = found.sheet.length; l <= level; l++) {
      const above = found.sheet[l - 1];
      const half = document.createElement("canvas");
      [half.width, half.height] = [Math.max(1, Math.ceil(above.width / 2)), Math.max(1, Math.ceil(above.height / 2))];
      const context = /** @type {CanvasRenderingContext2D} */ (half.getContext("2d"));
      context.imageSmoothingEnabled = true;
      context.drawImage(above, 0, 0, above.width / 2, above.height / 2);
      found.sheet.push(half);
    }
    return found.sheet[level];
  }

  return {
    /**
     * Draw what is visible of the atlas.
     * @param {CanvasRenderingContext2D} context in CSS pixels
     * @param {import("./layout.js").Layout} layout
     * @param {Source} source
     * @param {(row: number) => number} strip
     * @param {{ x: number, y: number, scale: number }} view
     * @param {number} width
     * @param {number} height
     */
    draw(context, layout, source, strip, view, width, height) {
      pages.length = layout.placed.length;
      const ratio = context.getTransform().a;
      const level = Math.max(0, Math.min(5, Math.floor(-Math.log2(view.scale * ratio))));
      const shrink = 2 ** level;
      context.imageSmoothingEnabled = view.scale * ratio < 1;
      layout.placed.forEach(({ x, y, lines }, k) => {
        const [w, h] = [layout.columns * layout.pitch[0], lines * layout.pitch[1]];
        // The part of the block that is seen, in its own pixels.
        const [u0, v0] = [Math.max(0, Math.floor(view.x - x)), Math.max(0, Math.floor(view.y - y))];
        const [u1, v1] = [
          Math.min(w, Math.ceil(view.x + width / view.scale - x)),
          Math.min(h, Math.ceil(view.y + height / view.scale - y)),
        ];
        if (u1 <= u0 || v1 <= v0) return;
        const sheet = page(layout, k, source, strip, level);
        context.drawImage(
          sheet,
          u0 / shrink,
          v0 / shrink,
          (u1 - u0) / shrink,
          (v1 - v0) / shrink,
          (x + u0 - view.x) * view.scale,
          (y + v0 - view.y) * view.scale,
          (u1 - u0) * view.scale,
          (v1 - v0) * view.scale,
        );
      });
    },
  };
}

/**
 * A CSS colour as a canvas stores it.
 * @param {string} colour "rgb(…)" or "#rrggbb"
 */
export function word(colour) {
  const parts = colour.startsWith("#")
    ? [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16))
    : (colour.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
  return (OPAQUE | (parts[2] << 16) | (parts[1] << 8) | parts[0]) >>> 0;
}
