// What the parts beside the atlas see of it: the set, the moment and the images that they are about.

import { imageSource } from "./atlas/texture.js";

const MOST = 200; // pictures kept

/**
 * @param {import("./data.js").Data} data
 * @param {ReturnType<typeof import("./atlas/stage.js").createStage>} stage
 * @returns {import("./inspector/inspector.js").Lens}
 */
export function createLens(data, stage) {
  const { model } = data;
  /** @type {Map<string, HTMLCanvasElement>} */
  const pictures = new Map();

  /** @param {number} row */
  function picture(row) {
    const side = data.here();
    const whole = model.get("full_range");
    const key = `${side.key} ${row} ${whole}`;
    const known = pictures.get(key);
    if (known) return known;
    const { shape } = data.content();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [shape[2], shape[1]];
    const image = new ImageData(shape[2], shape[1]);
    const words = new Uint32Array(image.data.buffer);
    imageSource(side, shape, whole ? [side.pixels.low, side.pixels.high] : [0, 1], 0).paint(row, words, 0, shape[2]);
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    if (pictures.size >= MOST) pictures.clear();
    pictures.set(key, canvas);
    return canvas;
  }

  return {
    set: () => data.set().name,
    iteration: () => data.selection().iteration,
    last: () => data.set().iterations.at(-1) ?? 0,
    classes: () => data.content().classes,
    shape: () => data.content().shape,
    hovered: stage.hovered,
    pinned: () => data.selection().images,
    shown: () => stage.hovered() ?? data.selection().images[0] ?? null,
    pin: (rows) => stage.pick(rows, "only"),
    labelOf: (row) => data.labels()[row],
    label: (row) => data.labelAt(row) ?? data.content().classes.map((_, k) => Number(k === data.labels()[row])),
    soft: () => data.set().soft,
    choices: () => data.set().choices,
    picture,
    values: (row, x, y) => data.valuesAt(data.here(), row, x, y) ?? [],
    describe: data.describe,
    can: () => Boolean(model.get("offer")?.can),
  };
}
