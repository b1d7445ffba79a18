// The plane: seeds as points that move with the timeline over the density, with paths, a field, and launches from a
// click.

import { drawDots } from "./dots.js";
import { arrowsOf, drawGround } from "./ground.js";
import { labels, marks, paths, points } from "./layers.js";
import { el, fill, write } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { paint } from "../../parts/plot_layers.js";
import { short } from "../../parts/numbers.js";
import { facts } from "../../parts/tooltip.js";

/** @typedef {import("../content.js").Run} Run */
/** A trajectory from noise that a reader clicked on.
 * @typedef {{ noise: [number, number], runs: { run: string, states: string, targets: string }[] }} Launch */

const GAP = 14;
const LEAST = 190; // px; a smaller plane shows too little
const TITLE = 30; // px above a plane
const REACH = 10; // px; farther away is no seed

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createPlane(frame, scene) {
  const { model } = scene;
  const node = el("div", { class: "dw-planes", "data-testid": "planes" });
  /** @type {ReturnType<typeof createPanel>[]} */
  const panels = [];
  frame.keys.add([], "walk through the seeds when a plane has the focus, Enter selects", null, "← / →");
  frame.keys.add("n", "launch all models from fresh noise", () => canLaunch() && launch(null), "N");
  frame.keys.add(
    "x",
    "switch between targets and states",
    () => frame.save({ show: model.get("show") === "targets" ? "states" : "targets" }),
    "X",
  );

  const canLaunch = () => scene.live() && Boolean(model.get("offer")?.launch);
  /** @param {[number, number] | null} noise */
  const launch = (noise) => frame.requests.ask("launch", { noise });

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} width
     * @param {number} most px of height
     */
    update(theme, width, most) {
      const all = scene.runs();
      const groups = model.get("arrange") === "together" ? [all] : all.map((one) => [one]);
      while (panels.length < groups.length)
        panels.push(createPanel(frame, scene, panels.length, { canLaunch, launch }));
      const shown = panels.slice(0, groups.length);
      if (node.children.length !== shown.length) fill(node, ...shown.map(({ node: figure }) => figure));
      const columns = Math.max(1, Math.min(groups.length, Math.floor((width + GAP) / (LEAST + GAP))));
      const side = Math.min(
        Math.floor((width - 1 - GAP * (columns - 1)) / columns),
        frame.room(node, 170, most) - TITLE,
      );
      shown.forEach((panel, k) => panel.update(theme, groups[k], side));
    },
  };
}

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 * @param {number} order
 * @param {{ canLaunch: () => boolean, launch: (noise: [number, number]) => void }} start
 */
function createPanel(frame, scene, order, start) {
  const { model } = scene;
  const plot = createPlot(frame, `plane-${order}`, { readout: false, interactive: true });
  const canvas = plot.node;
  canvas.setAttribute("aria-roledescription", "plane of seeds");
  const ground = el("canvas", { "aria-hidden": "true" });
  const title = el("figcaption", {});
  const over = el("canvas", { class: "dw-dots", "aria-hidden": "true", "data-testid": `dots-${order}` });
  const node = el("figure", { class: "dw-figure" }, title, el("div", { class: "dw-plane" }, ground, canvas, over));
  /** @type {Run[]} */
  let runs = [];
  let left = 46;
  let framed = "";

  const kind = () => /** @type {import("../scene.js").Kind} */ (model.get("show"));

  /** @param {MouseEvent} event */
  function pixel(event) {
    const bounds = canvas.getBoundingClientRect();
    return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
  }

  /**
   * The seed nearest to a pixel, and in which run.
   * @param {{ x: number, y: number }} where
   */
  function nearest({ x, y }) {
    const scales = plot.scales();
    if (!scales) return null;
    let best = null;
    let distance = REACH ** 2;
    for (const one of runs) {
      const cloud = scene.cloud(one, kind(), scene.indexOf(one));
      for (let i = 0; i < cloud.length; i += 2) {
        const d = (scales.x(cloud[i]) - x) ** 2 + (scales.y(cloud[i + 1]) - y) ** 2;
        if (d < distance) {
          best = { seed: i / 2, run: one };
          distance = d;
        }
      }
    }
    return best;
  }

  /**
   * @param {{ x: number, y: number }} where
   * @returns {[number, number] | null} the noise that begins there; null: outside
   */
  function noiseAt({ x, y }) {
    const scales = plot.scales();
    if (!scales || !scene.content().plane.exact) return null;
    const { left: a, right, top, bottom } = scales.box;
    if (x < a || x > right || y < top || y > bottom) return null;
    const { start: size } = runs[0];
    return [scales.atX(x) / size, scales.atY(y) / size];
  }

  frame.listen(canvas, "pointermove", (/** @type {PointerEvent} */ event) => {
    const where = pixel(event);
    const found = nearest(where);
    scene.hover(found?.seed ?? null);
    const noise = found || !start.canLaunch() ? null : noiseAt(where);
    canvas.style.cursor = found ? "pointer" : noise ? "crosshair" : "default";
    if (found) frame.tooltip.show(event.clientX, event.clientY, ...about(found.run, found.seed));
    else if (noise)
      frame.tooltip.show(
        event.clientX,
        event.clientY,
        el("b", {}, "launch from here"),
        el("span", { class: "dw-quiet" }, ` noise (${short(noise[0])}, ${short(noise[1])})`),
      );
    else frame.tooltip.hide();
  });
  frame.listen(canvas, "pointerleave", () => {
    scene.hover(null);
    frame.tooltip.hide();
  });
  frame.listen(canvas, "click", (/** @type {MouseEvent} */ event) => {
    const found = nearest(pixel(event));
    if (found) return scene.toggle(found.seed, event.shiftKey || event.ctrlKey || event.metaKey);
    const noise = start.canLaunch() ? noiseAt(pixel(event)) : null;
    if (noise) start.launch(noise);
  });
  frame.listen(canvas, "keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!["ArrowLeft", "ArrowRight", "Enter"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const { count } = scene.content();
    const from = scene.shown();
    if (event.key === "Enter") {
      if (from !== null) scene.toggle(from, true);
      return;
    }
    const next = from === null ? 0 : (from + (event.key === "ArrowRight" ? 1 : -1) + count) % count;
    scene.hover(next);
    frame.say(describe(next));
  });
  frame.listen(canvas, "blur", () => scene.hover(null));

  /** @param {number} seed */
  function describe(seed) {
    return runs
      .map((one) => {
        const [x, y] = scene.place(one, kind(), scene.indexOf(one), seed);
        return `seed ${seed}, ${one.name}: ${short(x)}, ${short(y)}`;
      })
      .join("; ");
  }

  /**
   * What a tooltip says of a seed.
   * @param {Run} one
   * @param {number} seed
   */
  function about(one, seed) {
    const index = scene.indexOf(one);
    const at = (/** @type {import("../scene.js").Kind} */ what) =>
      scene
        .place(one, what, index, seed)
        .map((value) => short(value))
        .join(", ");
    const pictures = ["targets", "states"].map((what) => {
      const source = scene.picture(one, /** @type {import("../scene.js").Kind} */ (what), index, seed);
      if (!source) return false;
      const copy = el("canvas", { class: "dw-thumbnail", width: source.width, height: source.height });
      copy.style.height = what === "targets" ? "72px" : "40px";
      copy.getContext("2d")?.drawImage(source, 0, 0);
      return copy;
    });
    const label = scene.className(seed);
    return [
      el("b", {}, `seed ${seed}${label ? `, class ${label}` : ""} · ${one.name}`),
      pictures.some(Boolean) && el("div", { class: "dw-cards" }, ...pictures),
      facts([
        ["x̂₀ believed", at("targets")],
        ["x_t", at("states")],
        ["x̂₀ to sample", short(scene.apart(one, index)[seed])],
      ]),
    ];
  }

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {Run[]} group
     * @param {number} side
     */
    update(theme, group, side) {
      runs = group;
      const { plane, count } = scene.content();
      const [x0, x1, y0, y1] = scene.span();
      const field = arrowsOf(scene, group[0], scene.indexOf(group[0]), model.get("field"));
      const chart = {
        note: field ? `longest arrow ${short(field.longest)}` : undefined,
        label: `${kind() === "targets" ? "Targets" : "States"} of ${count.toLocaleString("en")} seeds, ${group.map((one) => `${one.name} at ${scene.when(one)}`).join("; ")}. Arrow keys walk through the seeds, Enter selects.`,
        x: { low: x0, high: x1, title: plane.axes[0] },
        y: { low: y0, high: y1, title: plane.axes[1] },
        layers: [],
      };
      // The box is square whatever room the numbers beside it take.
      const tall = () => side - left - 10 + (chart.note ? 18 : 9) + 36;
      const key = JSON.stringify([side, x0, x1, y0, y1, plane.axes, chart.note, theme]);
      if (key !== framed) {
        framed = key;
        const scales = plot.update(theme, chart, side, tall());
        if (Math.abs(scales.box.left - left) > 0.5) {
          left = scales.box.left;
          plot.update(theme, chart, side, tall());
        }
      } else canvas.setAttribute("aria-label", chart.label);
      const scales = /** @type {import("../../parts/plot_axes.js").Scales} */ (plot.scales());
      drawGround(ground, scene, theme, scales, group, side, tall());
      const same = JSON.stringify([
        group.map((one) => [one.name, scene.indexOf(one)]),
        kind(),
        model.get("colour"),
        theme.dark,
        scene.content().revision,
      ]);
      const context = drawDots(
        over,
        theme,
        scales,
        same,
        () => group.flatMap((one) => points(scene, theme, one, kind())),
        side,
        tall(),
      );
      paint(context, theme, { layers: [...paths(scene, theme, group), ...marks(scene, theme, group, kind())] }, scales);
      labels(scene, theme, context, scales, group, kind());
      const [one] = group;
      const index = scene.indexOf(one);
      write(
        title,
        group.length > 1
          ? group.map(({ name }) => name).join(", ")
          : `${one.name} · ${index >= one.steps ? "sample" : `${index + 1}/${one.steps}, t = ${short(one.times[index])}`}`,
      );
      node.style.width = `${side}px`;
      title.classList.toggle("dw-of-run", group.length === 1);
      title.style.setProperty("--dw-run", scene.colour(one, theme.dark));
    },
  };
}
