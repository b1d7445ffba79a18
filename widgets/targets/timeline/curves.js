// Curves by step under one cursor: small plots below the stage, and the one of the timeline.

import { MEASURES } from "./measures.js";
import { extent } from "../../parts/arrays.js";
import { el, number } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { short } from "../../parts/numbers.js";
import { createTimeline } from "../../parts/timeline.js";

const HEIGHT = 128;
const LOW = 98;

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createCurves(frame, scene) {
  const { model } = scene;
  const plots = Object.entries(MEASURES).map(([name, { title, help }]) => {
    const plot = createPlot(frame, `curve-${name}`, { pick: (x) => scene.go(Math.max(0, Math.round(x) - 1)) });
    const cursor = el("div", { class: "dw-cursor", "aria-hidden": "true" });
    const node = el(
      "figure",
      { class: "dw-figure", title: help },
      el("figcaption", {}, title),
      el("div", { class: "dw-chart" }, plot.node, cursor),
    );
    return { name, plot, node, cursor };
  });
  const ask = el(
    "button",
    {
      class: "dw-button dw-outlined",
      "data-testid": "measure-error",
      title: "Follows the exact path over each step: some hundred calls of the model",
    },
    "measure the error of each step",
  );
  let busy = false;
  let drawn = "";
  /** @type {any} */
  let of = null;
  const over = () => {
    busy = false;
    frame.invalidate();
  };
  frame.listen(ask, "click", () => {
    busy = true;
    frame.requests.ask("step error", {}, over, { failed: over });
    frame.invalidate();
  });
  const node = el(
    "div",
    { class: "dw-curves", "data-testid": "curves" },
    ...plots.map(({ node: figure }) => figure),
    ask,
  );

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {boolean} beside in a column, with less room for each
     */
    update(theme, beside) {
      ask.hidden = !scene.live() || !model.get("measurable").length;
      ask.disabled = busy;
      const clock = scene.run();
      for (const { name, node: figure } of plots) figure.hidden = !scene.has(name);
      const width = plots.find(({ node: figure }) => !figure.hidden)?.node.clientWidth ?? 0;
      if (!width) return;
      const key = JSON.stringify([width, beside, theme, clock.name, scene.content().revision]);
      const stale = key !== drawn || model.get("curves") !== of;
      [drawn, of] = [key, model.get("curves")];
      const place = scene.position() + 1;
      for (const { name, plot, node: figure, cursor } of plots) {
        if (figure.hidden) continue;
        if (!stale) {
          move(cursor, plot, place);
          continue;
        }
        const { title, log = false } = MEASURES[name];
        /** @type {import("../../parts/plot_layers.js").Layer[]} */
        const layers = [];
        let [low, high] = [Infinity, -Infinity];
        for (const one of scene.runs()) {
          const values = scene.curve(one, name);
          if (!values) continue;
          const x = places(scene, one).map((place) => place + 1);
          const y = log ? Float32Array.from(values, (value) => (value > 0 ? value : NaN)) : values;
          const [least, most] = extent(y);
          if (least < low) low = least;
          if (most > high) high = most;
          const colour = scene.colour(one, theme.dark);
          layers.push({ kind: "line", x, y, colour, width: 1.75, name: one.name, dash: scene.dash(one) });
          if (one.steps <= 12) layers.push({ kind: "points", x, y, colour, width: 6, hollow: scene.hollow(one) });
        }
        if (!(low <= high)) [low, high] = log ? [0.1, 1] : [0, 1];
        const [bottom, top] = log
          ? [low / 1.3, Math.max(high * 1.3, low * 3)]
          : [Math.min(0, low), Math.max(1e-3, high + 0.06 * (high - Math.min(0, low)))];
        plot.update(
          theme,
          {
            label: `${title} by step: ${scene
              .runs()
              .map(
                (one) =>
                  `${one.name} from ${short(scene.curve(one, name)?.[0])} to ${short(scene.curve(one, name)?.[one.steps - 1])}`,
              )
              .join(", ")}`,
            x: { low: 1, high: clock.steps + 1, title: `step of ${clock.name}`, whole: true },
            y: { low: bottom, high: top, title: "", log },
            layers,
          },
          width,
          beside ? LOW : HEIGHT,
        );
        move(cursor, plot, place);
      }
    },
  };
}

/**
 * @param {HTMLElement} cursor
 * @param {ReturnType<typeof createPlot>} plot
 * @param {number} place
 */
function move(cursor, plot, place) {
  const scales = plot.scales();
  if (!scales) return;
  cursor.style.top = `${scales.box.top}px`;
  cursor.style.height = `${scales.box.bottom - scales.box.top}px`;
  cursor.style.transform = `translateX(${scales.x(place) - 0.75}px)`;
}

/**
 * Where the steps of a run lie on the timeline.
 * @param {import("../scene.js").Scene} scene
 * @param {import("../content.js").Run} one
 */
function places(scene, one) {
  return Array.from({ length: one.steps }, (_, index) => scene.placeOf(one, index));
}

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createCourse(frame, scene) {
  const { model } = scene;
  createTimeline(frame, {
    unit: "step",
    positions: scene.positions,
    get: scene.position,
    set: scene.go,
    label: () => {
      const clock = scene.run();
      const place = scene.position();
      return `t = ${place >= clock.steps ? "0" : short(clock.times[place])}`;
    },
    curves(theme) {
      const name = model.get("curve");
      const { percent } = MEASURES[name];
      return scene.runs().flatMap((one) => {
        const values = scene.curve(one, name);
        return values
          ? [
              {
                name: one.name,
                values,
                at: places(scene, one),
                colour: scene.colour(one, theme.dark),
                dash: scene.dash(one),
                ...(percent ? { text: (/** @type {number} */ value) => `${number(100 * value, 0)} %` } : {}),
              },
            ]
          : [];
      });
    },
  });
}
