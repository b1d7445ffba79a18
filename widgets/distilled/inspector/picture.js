// One distilled image, large: its pixels with their values under the cursor or the arrow keys, and what lies over it.

import { heatPicture } from "./attribution.js";
import { el, number, sharp } from "../../parts/dom.js";
import { createPixels } from "../../parts/pixels.js";

const ROOM = 26; // px of a pixel that a number fits into

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("./inspector.js").Lens} lens
 * @param {() => void} moved the pixel under the cursor is another one
 */
export function createPicture(frame, lens, moved) {
  const canvas = el("canvas", {
    class: "dw-large",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "image",
    "data-testid": "large",
  });
  let shown = /** @type {{ row: number, heat: import("./attribution.js").Heat | null, pixel: number } | null} */ (null);

  /** @param {number} x @param {number} y @returns {[string, string][]} */
  function lines(x, y) {
    if (!shown) return [];
    const values = lens.values(shown.row, x, y);
    const names =
      values.length === 3
        ? ["red", "green", "blue"]
        : values.length === 1
          ? ["value"]
          : values.map((_, k) => `channel ${k}`);
    const [, , width] = lens.shape();
    return [
      ...names.map((name, k) => /** @type {[string, string]} */ ([name, number(values[k], 3)])),
      ...(shown.heat
        ? [/** @type {[string, string]} */ (["attribution", `${number(shown.heat.values[y * width + x], 4)} logit`])]
        : []),
    ];
  }
  const pixels = createPixels(
    frame,
    canvas,
    () => {
      const [, height, width] = lens.shape();
      return shown && { width, height, pixel: shown.pixel };
    },
    lines,
    moved,
  );

  return {
    node: canvas,
    /** The pixel under the cursor. */
    pixel: pixels.at,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} row
     * @param {import("./attribution.js").Heat | null} heat
     * @param {{ width: number, opacity: number, numbers: boolean }} how
     */
    update(theme, row, heat, { width: room, opacity, numbers }) {
      const [channels, height, width] = lens.shape();
      // Whole pixels of the screen per pixel of the image, so that all of them are alike.
      const pixel = Math.max(1, Math.floor(room / Math.max(width, height)));
      shown = { row, heat, pixel };
      const context = sharp(canvas, width * pixel, height * pixel);
      context.imageSmoothingEnabled = false;
      context.drawImage(lens.picture(row), 0, 0, width * pixel, height * pixel);
      if (heat) {
        context.globalAlpha = opacity;
        context.drawImage(heatPicture(theme, heat, width, height), 0, 0, width * pixel, height * pixel);
        context.globalAlpha = 1;
      }
      if (numbers && pixel >= ROOM && channels === 1) write(context, theme, row, pixel);
      const at = pixels.at();
      if (at) {
        context.strokeStyle = "#fff";
        context.lineWidth = 3;
        context.strokeRect(at[0] * pixel, at[1] * pixel, pixel, pixel);
        context.strokeStyle = "#000";
        context.lineWidth = 1;
        context.strokeRect(at[0] * pixel, at[1] * pixel, pixel, pixel);
      }
      canvas.dataset.geometry = ["0 0", width * pixel, height * pixel, pixel].join(" ");
      canvas.setAttribute(
        "aria-label",
        `${lens.describe(row)}, ${width} by ${height} pixels${heat ? `, attribution for ${lens.classes()[heat.target]} over it` : ""}. Arrow keys read its pixels.`,
      );
    },
    /** A number fits into each pixel at this width. @param {number} room */
    legible: (room) => lens.shape()[0] === 1 && Math.floor(room / Math.max(lens.shape()[1], lens.shape()[2])) >= ROOM,
  };

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {number} row
   * @param {number} pixel
   */
  function write(context, theme, row, pixel) {
    const [, height, width] = lens.shape();
    const ratio = context.canvas.width / (width * pixel);
    context.font = theme.type(Math.min(12, Math.round(pixel * 0.36)));
    context.textAlign = "center";
    context.textBaseline = "middle";
    const { data } = context.getImageData(0, 0, context.canvas.width, context.canvas.height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const corner =
          4 * (Math.round((y + 0.1) * pixel * ratio) * context.canvas.width + Math.round((x + 0.1) * pixel * ratio));
        const [r, g, b] = [0, 1, 2].map((k) => (data[corner + k] / 255) ** 2.2);
        context.fillStyle = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";
        context.fillText(number(lens.values(row, x, y)[0], 2), (x + 0.5) * pixel, (y + 0.5) * pixel + 0.5);
      }
    }
    context.textBaseline = "alphabetic";
  }
}
