// The history of a distillation under the timeline: its loss, and the accuracy that its images teach along the way.

import { extent } from "../../parts/arrays.js";
import { runColour } from "../../parts/colours.js";
import { number } from "../../parts/dom.js";
import { createTimeline } from "../../parts/timeline.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 */
export function createCourse(frame, data) {
  const { model } = data;

  /** @returns {import("../../parts/timeline.js").Curve[]} */
  function curves(/** @type {import("../../parts/theme.js").Theme} */ theme) {
    const one = data.set();
    const name = model.get("curve");
    const loss = one.curves[name];
    const found = [];
    if (loss) {
      const { at, range, values } = data.once("course", [one, name], () => {
        const known = /** @type {Float32Array} */ (data.values(loss.values));
        return {
          values: known,
          at: Array.from(/** @type {Int32Array} */ (data.values(loss.at)), (iteration) =>
            place(one.iterations, iteration),
          ),
          range: span(known),
        };
      });
      found.push({ name: name.replaceAll("_", " "), values, at, range, colour: theme.focus });
    }
    if (one.accuracy) {
      const { at, range, values } = data.once("accuracy", [one], () => {
        const all = Array.from(/** @type {Float32Array} */ (data.values(one.accuracy)));
        const known = all.map((_, k) => k).filter((k) => !Number.isNaN(all[k]));
        return { at: known, values: known.map((k) => all[k]), range: span(known.map((k) => all[k])) };
      });
      if (values.length)
        found.push({
          name: "test accuracy",
          values,
          at,
          range,
          colour: runColour("student", 0, theme.dark),
          dash: [5, 3],
          text: (/** @type {number} */ value) => `${number(100 * value, 1)} %`,
        });
    }
    return found;
  }

  createTimeline(frame, {
    unit: "iteration",
    positions: () => data.set().iterations,
    get: data.position,
    set: (index) => frame.select({ iteration: data.set().iterations[index] }),
    curves,
  });
}

/**
 * Where an iteration lies between the moments that were kept.
 * @param {number[]} moments ascending
 * @param {number} iteration
 */
export function place(moments, iteration) {
  const next = moments.findIndex((moment) => moment >= iteration);
  if (next < 0) return moments.length - 1;
  if (next === 0) return 0;
  return next - 1 + (iteration - moments[next - 1]) / (moments[next] - moments[next - 1]);
}

/** @param {ArrayLike<number>} values @returns {[number, number]} */
function span(values) {
  const [low, high] = extent(values);
  return Number.isNaN(low) ? [0, 1] : [low, high];
}
