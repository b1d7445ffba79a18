// What comes out of a hand-over: points over the density, or a sheet of pictures, for the way of sharing that is shown.

import { drawDensity } from "../stage/ground.js";
import { paint } from "../scene.js";
import { at as slice, tensor } from "../../parts/arrays.js";
import { classColour, isHollow, runColour } from "../../parts/colours.js";
import { el, sharp, write } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { short } from "../../parts/numbers.js";

const REACH = 12; // px; farther away is nobody
const GAP = 3;

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createHandOverSamples(frame, scene) {
  const { model } = frame;
  const ground = el("canvas", { "aria-hidden": "true" });
  const plot = createPlot(frame, "hand-over-points", { readout: false });
  const plane = el("div", { class: "dw-plane" }, ground, plot.node);
  const sheet = el("canvas", { class: "dw-sheet", role: "img", "data-testid": "hand-over-sheet" });
  const title = el("figcaption", {});
  const node = el("figure", { class: "dw-figure" }, title, plane, sheet);
  const small = document.createElement("canvas");
  let shown =
    /** @type {{ found: import("./hand_over.js").HandOver, points: ArrayLike<number> | null, columns: number, pitch: number } | null} */ (
      null
    );
  let left = 46;

  /** The seed under the cursor. @param {MouseEvent} event */
  function under(event) {
    if (!shown) return null;
    const target = /** @type {HTMLElement} */ (event.currentTarget);
    const bounds = target.getBoundingClientRect();
    const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
    if (!shown.points) {
      const [column, row] = [Math.floor(x / shown.pitch), Math.floor(y / shown.pitch)];
      const seed = row * shown.columns + column;
      return column >= 0 && column < shown.columns && seed >= 0 && seed < shown.found.pictured ? seed : null;
    }
    const scales = plot.scales();
    if (!scales) return null;
    let [best, distance] = [/** @type {number | null} */ (null), REACH ** 2];
    for (let i = 0; i < shown.points.length; i += 2) {
      const d = (scales.x(shown.points[i]) - x) ** 2 + (scales.y(shown.points[i + 1]) - y) ** 2;
      if (d < distance) [best, distance] = [i / 2, d];
    }
    return best;
  }
  for (const target of [plot.node, sheet]) {
    frame.listen(target, "pointermove", (/** @type {PointerEvent} */ event) => {
      const seed = under(event);
      const same = shown?.found.same_seeds ?? false;
      target.style.cursor = seed !== null && same ? "pointer" : "default";
      if (same) scene.hover(seed);
      if (seed === null || !shown) return frame.tooltip.hide();
      const place = shown.points ? `${short(shown.points[2 * seed])}, ${short(shown.points[2 * seed + 1])}` : "";
      return frame.tooltip.show(
        event.clientX,
        event.clientY,
        el("b", {}, [`seed ${seed}`, className(shown.found, seed)].filter(Boolean).join(" · ")),
        place && el("div", {}, place),
      );
    });
    frame.listen(target, "pointerleave", () => {
      frame.tooltip.hide();
      if (shown?.found.same_seeds) scene.hover(null);
    });
    frame.listen(target, "click", (/** @type {MouseEvent} */ event) => {
      const seed = under(event);
      if (seed !== null && shown?.found.same_seeds)
        scene.toggle(seed, event.shiftKey || event.ctrlKey || event.metaKey);
    });
  }

  /** @param {import("./hand_over.js").HandOver} found @param {number} seed */
  function className(found, seed) {
    const labels = tensor(model, found.condition, "hand_over_arrays")?.data;
    return labels && labels[seed] >= 0 ? found.classes[labels[seed]] : "";
  }
  /**
   * Selected seeds and the one under the cursor, where they are the runs' own.
   * @param {import("./hand_over.js").HandOver} found
   */
  const marked = (found) =>
    found.same_seeds
      ? [...scene.seeds(), ...(scene.hovered() === null ? [] : [/** @type {number} */ (scene.hovered())])].filter(
          (seed) => seed < found.count,
        )
      : [];

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {import("./hand_over.js").HandOver} found
     * @param {import("./hand_over.js").Way} way
     * @param {number} at
     * @param {number} width
     * @param {number} tall
     */
    update(theme, found, way, at, width, tall) {
      const source = found.places[way];
      plane.hidden = source === null;
      sheet.hidden = source !== null;
      if (source !== null)
        points(
          theme,
          found,
          /** @type {Float32Array} */ (
            slice(/** @type {import("../../parts/arrays.js").Tensor} */ (tensor(model, source, "hand_over_arrays")), at)
              .data
          ),
          Math.min(width, tall),
        );
      else if (found.pictured) pictures(theme, found, way, at, width, tall);
      const count = source === null ? found.pictured : found.shown;
      write(
        title,
        `${count.toLocaleString("en")} ${count < found.count ? `of ${found.count.toLocaleString("en")} ` : ""}samples`,
      );
    },
  };

  /**
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {import("./hand_over.js").HandOver} found
   * @param {Float32Array} cloud
   * @param {number} side
   */
  function points(theme, found, cloud, side) {
    shown = { found, points: cloud, columns: 0, pitch: 0 };
    const { plane: frameOf } = scene.content();
    const [x0, x1, y0, y1] = frameOf.close;
    const count = cloud.length / 2;
    const [x, y] = [new Float32Array(count), new Float32Array(count)];
    for (let i = 0; i < count; i++) [x[i], y[i]] = [cloud[2 * i], cloud[2 * i + 1]];
    const width = count > 1200 ? 3.5 : count > 300 ? 4.5 : count > 80 ? 6 : 8;
    const labels = model.get("colour") === "class" ? tensor(model, found.condition, "hand_over_arrays")?.data : null;
    /** @type {import("../../parts/plot_layers.js").Layer[]} */
    let layers = [{ kind: "points", x, y, colour: runColour("other", 0, theme.dark), width, opacity: 0.8 }];
    if (labels) {
      const rows = [...Array(count).keys()];
      layers = [...new Set(labels.slice(0, count))].map((label) => {
        const own = rows.filter((i) => labels[i] === label);
        return {
          kind: "points",
          x: own.map((i) => x[i]),
          y: own.map((i) => y[i]),
          colour: label < 0 ? theme.quiet : classColour(label, theme.dark),
          hollow: isHollow(label),
          width,
          opacity: 0.8,
        };
      });
    }
    const ringed = marked(found).filter((seed) => seed < count);
    layers.push({
      kind: "points",
      x: ringed.map((i) => x[i]),
      y: ringed.map((i) => y[i]),
      colour: theme.ink,
      width: 13,
      hollow: true,
    });
    const chart = {
      label: `${count} samples in the plane`,
      x: { low: x0, high: x1, title: frameOf.axes[0] },
      y: { low: y0, high: y1, title: frameOf.axes[1] },
      layers,
    };
    // The box is square whatever room the numbers beside it take.
    const tall = () => side - left - 10 + 9 + 36;
    let scales = plot.update(theme, chart, side, tall());
    if (Math.abs(scales.box.left - left) > 0.5) {
      left = scales.box.left;
      scales = plot.update(theme, chart, side, tall());
    }
    drawDensity(ground, scene, theme, scales, side, tall());
  }

  /**
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {import("./hand_over.js").HandOver} found
   * @param {import("./hand_over.js").Way} way
   * @param {number} at
   * @param {number} room
   * @param {number} tall
   */
  function pictures(theme, found, way, at, room, tall) {
    const source = /** @type {import("../../parts/arrays.js").Tensor} */ (
      tensor(model, found.pictures[way], "hand_over_arrays")
    );
    const [, count, channels, height, width] = source.shape;
    const columns = Math.ceil(Math.sqrt(count * Math.max(1, room / tall)));
    const pitch = Math.floor(Math.min(room / columns, tall / Math.ceil(count / columns)));
    shown = { found, points: null, columns, pitch };
    const context = sharp(sheet, columns * pitch, Math.ceil(count / columns) * pitch);
    [small.width, small.height] = [width, height];
    const pencil = /** @type {CanvasRenderingContext2D} */ (small.getContext("2d"));
    const image = new ImageData(width, height);
    const words = new Uint32Array(image.data.buffer);
    context.imageSmoothingEnabled = false;
    const scale = (pitch - GAP) / Math.max(width, height);
    for (let seed = 0; seed < count; seed++) {
      paint(/** @type {Uint8Array} */ (slice(source, at, seed).data), channels, words, 0, width, width, height);
      pencil.putImageData(image, 0, 0);
      context.drawImage(
        small,
        (seed % columns) * pitch,
        Math.floor(seed / columns) * pitch,
        width * scale,
        height * scale,
      );
    }
    context.strokeStyle = theme.focus;
    context.lineWidth = 2;
    for (const seed of marked(found).filter((one) => one < count))
      context.strokeRect(
        (seed % columns) * pitch + 1,
        Math.floor(seed / columns) * pitch + 1,
        width * scale - 2,
        height * scale - 2,
      );
    sheet.setAttribute("aria-label", `${count} samples as pictures`);
  }
}
