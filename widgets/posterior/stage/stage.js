// The stage of a regression: data, mean, bands, the fan of steps; points that can be dragged where Python listens.

import { colour, runColour } from "../../parts/colours.js";
import { el } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { short } from "../../parts/numbers.js";
import { facts } from "../../parts/tooltip.js";

/**
 * @typedef {{ move: (row: number, x: number, y: number, done: boolean) => void, add: (x: number, y: number) => void,
 *   remove: (row: number) => void, pin: (row: number) => void }} Edits
 */

/** Everything one panel shows.
 * @typedef {object} Panel
 * @property {import("../data.js").Seen} seen
 * @property {number} index step, or the limit
 * @property {string} title
 * @property {ArrayLike<number>} grid
 * @property {{ x: ArrayLike<number>, y: ArrayLike<number> }} points as drawn: moved ones, partial residuals
 * @property {{ x: ArrayLike<number>, y: ArrayLike<number>, true: boolean } | null} test
 * @property {[number, number]} span
 * @property {[number, number]} range
 * @property {string} xTitle
 * @property {string} yTitle
 * @property {boolean} fan
 * @property {boolean} targets
 * @property {boolean} curve
 * @property {boolean} limit there is one
 * @property {{ mean: Float64Array, std: Float64Array } | null} equivalent
 * @property {number | null} pinned
 * @property {number | null} cursor
 * @property {boolean} editable
 */

/**
 * The colour of a step in the fan. The palest end of viridis would vanish on a white page, the darkest on a black one.
 * @param {number} index
 * @param {number} steps the limit's index
 * @param {boolean} dark
 */
export function stepColour(index, steps, dark) {
  const share = steps > 0 ? index / steps : 0;
  return colour("viridis", dark ? 0.28 + 0.72 * share : 0.86 * share, 0, 1);
}

/**
 * The colour of an approach where two are compared.
 * @param {string} approach
 * @param {boolean} dark
 */
export function approachColour(approach, dark) {
  return runColour("other", approach === "data" ? 0 : 1, dark);
}

const REACH = 12; // px; farther away is no point

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {string} testid
 * @param {Edits} edits
 * @param {(x: number | null) => void} hover
 */
export function createStage(frame, testid, edits, hover) {
  const plot = createPlot(frame, testid, { readout: false, interactive: true });
  const canvas = plot.node;
  canvas.setAttribute("aria-roledescription", "posterior plot");
  /** @type {Panel | null} */
  let panel = null;
  /** @type {{ row: number, moved: boolean } | null} */
  let held = null;
  let steered = false;

  /** @param {MouseEvent} event */
  const place = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };

  /** @param {{ x: number, y: number }} pixel */
  function nearest({ x, y }) {
    const scales = plot.scales();
    if (!panel || !scales) return null;
    let best = null;
    let distance = REACH ** 2;
    for (let i = 0; i < panel.points.x.length; i++) {
      const d = (scales.x(panel.points.x[i]) - x) ** 2 + (scales.y(panel.points.y[i]) - y) ** 2;
      if (d < distance) [best, distance] = [i, d];
    }
    return best;
  }

  /** @param {{ x: number, y: number }} pixel */
  function values(pixel) {
    const scales = /** @type {import("../../parts/plot_axes.js").Scales} */ (plot.scales());
    const { left, right, top, bottom } = scales.box;
    return {
      x: scales.atX(Math.max(left, Math.min(right, pixel.x))),
      y: scales.atY(Math.max(top, Math.min(bottom, pixel.y))),
    };
  }

  frame.listen(canvas, "pointerdown", (/** @type {PointerEvent} */ event) => {
    if (!panel?.editable || event.button !== 0) return;
    const row = nearest(place(event));
    if (row === null || event.altKey) return;
    canvas.setPointerCapture(event.pointerId);
    held = { row, moved: false };
    hover(null);
    frame.tooltip.hide();
  });
  frame.listen(canvas, "pointermove", (/** @type {PointerEvent} */ event) => {
    if (!panel) return;
    const pixel = place(event);
    if (held) {
      held.moved = true;
      const { x, y } = values(pixel);
      edits.move(held.row, x, y, false);
      return;
    }
    const row = nearest(pixel);
    canvas.style.cursor = row === null ? "crosshair" : panel.editable ? "grab" : "pointer";
    const { x } = values(pixel);
    hover(x);
    frame.tooltip.show(event.clientX, event.clientY, ...(row === null ? alongLine(x) : aboutPoint(row)));
  });
  const drop = (/** @type {PointerEvent} */ event) => {
    if (!held) return;
    const { row, moved } = held;
    held = null;
    if (!moved) return;
    const { x, y } = values(place(event));
    edits.move(row, x, y, true);
    steered = true; // the click that ends a drag pins nothing
  };
  frame.listen(canvas, "pointerup", drop);
  frame.listen(canvas, "pointercancel", drop);
  frame.listen(canvas, "pointerleave", () => {
    hover(null);
    frame.tooltip.hide();
  });
  frame.listen(canvas, "click", (/** @type {MouseEvent} */ event) => {
    if (steered) {
      steered = false;
      return;
    }
    const row = nearest(place(event));
    if (row === null) return;
    if (event.altKey && panel?.editable) edits.remove(row);
    else edits.pin(row);
  });
  frame.listen(canvas, "dblclick", (/** @type {MouseEvent} */ event) => {
    if (!panel?.editable || nearest(place(event)) !== null) return;
    const { x, y } = values(place(event));
    edits.add(x, y);
  });
  frame.listen(canvas, "keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!panel) return;
    const count = panel.points.x.length;
    const { pinned } = panel;
    const handled = () => (event.preventDefault(), event.stopPropagation());
    if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && !event.shiftKey && count) {
      handled();
      const order = Array.from({ length: count }, (_, i) => i).sort(
        (a, b) => /** @type {Panel} */ (panel).points.x[a] - /** @type {Panel} */ (panel).points.x[b],
      );
      const from = pinned === null ? -1 : order.indexOf(pinned);
      const to = order[(from + (event.key === "ArrowRight" ? 1 : -1) + count) % count] ?? order[0];
      if (to !== pinned) edits.pin(to);
      frame.say(
        `point ${to}: ${panel.xTitle} ${short(panel.points.x[to])}, ${panel.yTitle} ${short(panel.points.y[to])}`,
      );
    } else if (pinned !== null && panel.editable && /^Arrow/.test(event.key)) {
      handled();
      const [dx, dy] = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key] ?? [
        0, 0,
      ];
      const share = 0.02;
      const x = panel.points.x[pinned] + dx * share * (panel.span[1] - panel.span[0]);
      const y = panel.points.y[pinned] + dy * share * (panel.range[1] - panel.range[0]);
      edits.move(pinned, Math.max(panel.span[0], Math.min(panel.span[1], x)), y, true);
      frame.say(`${panel.xTitle} ${short(x)}, ${panel.yTitle} ${short(y)}`);
    } else if ((event.key === "Delete" || event.key === "Backspace") && pinned !== null && panel.editable) {
      handled();
      edits.remove(pinned);
    }
  });

  /** @param {number} x */
  function alongLine(x) {
    const { seen, index, grid, xTitle } = /** @type {Panel} */ (panel);
    let best = 0;
    for (let j = 1; j < grid.length; j++) if (Math.abs(grid[j] - x) < Math.abs(grid[best] - x)) best = j;
    const [mean, std] = [seen.means[index][best], seen.std(index)[best]];
    return [
      el("b", {}, `${xTitle} ${short(grid[best])}`),
      facts([
        ["mean", short(mean)],
        ["σ", short(std)],
        ["95 %", `${short(mean - 1.96 * std)} to ${short(mean + 1.96 * std)}`],
      ]),
    ];
  }

  /** @param {number} row */
  function aboutPoint(row) {
    const { points, seen, index, xTitle, yTitle, targets, editable } = /** @type {Panel} */ (panel);
    /** @type {[string, string][]} */
    const rows = [
      [xTitle, short(points.x[row])],
      [yTitle, short(points.y[row])],
    ];
    if (targets && seen.approach === "data") rows.push(["target of this step", short(seen.targets(index)[row])]);
    return [
      el("b", {}, `training row ${row}`),
      facts(rows),
      editable && el("span", { class: "dw-quiet" }, "drag to move"),
    ];
  }

  return {
    node: canvas,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {Panel} next
     * @param {number} width
     * @param {number} height
     */
    update(theme, next, width, height) {
      panel = next;
      plot.update(
        theme,
        {
          label: describe(next),
          x: { low: next.span[0], high: next.span[1], title: next.xTitle },
          y: { low: next.range[0], high: next.range[1], title: next.yTitle },
          layers: layers(theme, next),
          cursor: next.cursor,
          note: next.title,
        },
        width,
        height,
      );
    },
  };
}

/** @param {Panel} panel */
function describe({ seen, index, xTitle, yTitle, points, editable }) {
  const when = index === seen.steps ? "in the limit" : `at step ${index + 1} of ${seen.steps}`;
  return `Posterior of ${yTitle} over ${xTitle}, ${seen.approach}-centric, ${when}, with ${points.x.length} training points. Arrow keys walk through the points${editable ? "; up and down move one, shift with left and right too, Delete removes it" : ""}.`;
}

/**
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {Panel} panel
 * @returns {import("../../parts/plot_layers.js").Layer[]}
 */
function layers(theme, panel) {
  const { seen, index, grid, points, test } = panel;
  const ink = stepColour(index, seen.steps, theme.dark);
  const [mean, std] = [seen.means[index], seen.std(index)];
  const edge = (/** @type {number} */ k) => mean.map((value, j) => value + k * std[j]);
  /** @type {import("../../parts/plot_layers.js").Layer[]} */
  const found = [];
  if (!panel.curve) {
    found.push({ kind: "segments", x: grid, y: edge(2), low: edge(-2), colour: ink, opacity: 0.35, width: 1 });
  } else {
    found.push({ kind: "band", x: grid, y: edge(2), low: edge(-2), colour: ink, opacity: theme.dark ? 0.2 : 0.13 });
    found.push({ kind: "band", x: grid, y: edge(1), low: edge(-1), colour: ink, opacity: theme.dark ? 0.26 : 0.17 });
  }
  if (test?.true) found.push({ kind: "line", x: test.x, y: test.y, colour: theme.quiet, width: 1.5, dash: [6, 4] });
  else if (test) found.push({ kind: "points", x: test.x, y: test.y, colour: theme.quiet, width: 4.5, opacity: 0.45 });
  for (const draw of seen.samples(index))
    found.push({ kind: "line", x: grid, y: draw, colour: ink, width: 1, opacity: 0.55 });
  if (panel.fan && panel.curve) {
    seen.means.forEach((values, t) => {
      if (t === index) return;
      const limit = t === seen.steps;
      found.push({
        kind: "line",
        x: grid,
        y: values,
        colour: stepColour(t, seen.steps, theme.dark),
        width: limit ? 2 : 1.4,
        dash: limit ? [2, 3] : [],
        opacity: t <= index || limit ? 0.95 : 0.4,
      });
    });
  }
  if (panel.curve) found.push({ kind: "line", x: grid, y: mean, colour: ink, width: 3.25 });
  else found.push({ kind: "points", x: grid, y: mean, colour: ink, width: 5 });
  if (panel.equivalent) {
    const { mean: same, std: wide } = panel.equivalent;
    found.push({ kind: "line", x: grid, y: same, colour: theme.ink, width: 1.6, dash: [7, 5] });
    for (const k of [-2, 2])
      found.push({
        kind: "line",
        x: grid,
        y: same.map((value, j) => value + k * wide[j]),
        colour: theme.ink,
        width: 1,
        dash: [7, 5],
        opacity: 0.75,
      });
  }
  if (panel.targets && seen.approach === "data" && index > 0) {
    const goals = seen.targets(index);
    found.push({ kind: "segments", x: points.x, y: goals, low: points.y, colour: theme.quiet, width: 1, opacity: 0.8 });
    found.push({ kind: "points", x: points.x, y: goals, colour: ink, width: 7, hollow: true });
  }
  const many = points.x.length > 120 || !panel.curve;
  found.push({
    kind: "points",
    x: points.x,
    y: points.y,
    colour: theme.ink,
    width: many ? 4.5 : 8,
    opacity: panel.curve ? (many ? 0.6 : 1) : 0.4,
  });
  if (panel.pinned !== null && panel.pinned < points.x.length)
    found.push({
      kind: "points",
      x: [points.x[panel.pinned]],
      y: [points.y[panel.pinned]],
      colour: theme.focus,
      width: 15,
      hollow: true,
    });
  return found;
}
