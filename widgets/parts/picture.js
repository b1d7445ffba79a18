// A small picture of one example, from its raw bytes; pixels stay square and sharp.

import { at } from "./arrays.js";
import { el } from "./dom.js";

/**
 * @param {import("./arrays.js").Tensor} images uint8 (m, channels, height, width)
 * @param {number} index
 * @param {number} size CSS pixels of the longer side
 */
export function thumbnail(images, index, size) {
  const [, channels, height, width] = images.shape;
  const { data } = at(images, index);
  const canvas = el("canvas", { class: "dw-thumbnail", width, height, role: "img", "aria-label": `example ${index}` });
  const scale = size / Math.max(width, height);
  canvas.style.width = `${Math.round(width * scale)}px`;
  canvas.style.height = `${Math.round(height * scale)}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const area = width * height;
  for (let i = 0; i < area; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = data[(channels >= 3 ? k : 0) * area + i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
