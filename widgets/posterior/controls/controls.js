// The sliders under the stage: what the browser evaluates at once, and what goes to Python and back.

import { el } from "../../parts/dom.js";
import { createHeld } from "./held.js";
import { createKernel } from "./kernel.js";
import { createSlider } from "../../parts/slider.js";
import { short } from "../../parts/numbers.js";

/** @typedef {{ ask: (changes: Record<string, any>) => void, current: (name: string) => any }} Refits */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 * @param {Refits} refits
 * @param {(term: string | null) => void} light
 */
export function createControls(frame, data, refits, light) {
  const { model } = frame;
  const still = "this record holds its steps as they were computed, and no eigensystem to filter";
  const touch = (/** @type {string} */ name) => (/** @type {boolean} */ on) => light(on ? name : null);
  const steps = createSlider(frame, {
    name: "steps",
    symbol: "τ",
    label: "steps",
    help: "How many steps are drawn; the timeline picks one of them",
    move: (value) => frame.save({ steps: value }),
    touch: touch("step"),
  });
  const noise = createSlider(frame, {
    name: "noise",
    symbol: "γ",
    label: "noise",
    help: "Noise variance of every step, in squared units of the normalised targets",
    move: (value) => frame.save({ noise: value }),
    reset: () => frame.save({ noise: null }),
    touch: touch("noise"),
  });
  const mixing = createSlider(frame, {
    name: "mixing",
    symbol: "α",
    label: "mixing",
    help: "Weight of the true targets in what the next step is fitted to (data-centric)",
    move: (value) => frame.save({ mixing: value }),
    reset: () => frame.save({ mixing: null }),
    touch: touch("mixing"),
  });
  const length = createSlider(frame, {
    name: "length_scale",
    symbol: "ℓ",
    label: "length-scale",
    help: "Length-scale of the kernel; asks Python",
    move: (value) => refits.ask({ length_scale: value }),
    reset: () => refits.ask({ length_scale: null }),
    touch: touch("kernel"),
  });
  const amplitude = createSlider(frame, {
    name: "amplitude",
    symbol: "a",
    label: "amplitude",
    help: "Amplitude of the kernel; asks Python",
    move: (value) => refits.ask({ amplitude: value }),
    reset: () => refits.ask({ amplitude: null }),
    touch: touch("kernel"),
  });
  const kernel = createKernel(frame, refits);
  frame.listen(kernel.node, "pointerenter", () => light("kernel"));
  frame.listen(kernel.node, "pointerleave", () => light(null));
  const held = createHeld(frame, refits, "axis");
  const sliders = el(
    "div",
    { class: "dw-sliders", role: "group", "aria-label": "Sliders" },
    noise.node,
    length.node,
    mixing.node,
    amplitude.node,
    steps.node,
    kernel.node,
  );
  const node = el("div", { class: "dw-controls", "data-testid": "controls" }, sliders, held.node);

  return {
    node,
    update() {
      const { given, live, kernels, kernel: fitted, features, axis, why_not: why } = data.content();
      const interactive = data.content().eigen !== null;
      const [gamma, alpha] = [data.schedule("noise"), data.schedule("mixing")];
      const centre = given.noise[given.noise.length - 1] || 0.1;
      const varies = (/** @type {number[]} */ values) => model.get("noise") === null && new Set(values).size > 1;
      const off = interactive ? "" : still;
      noise.update({
        low: centre / 1000,
        high: centre * 1000,
        value: gamma[gamma.length - 1],
        normal: model.get("noise") === null ? null : centre,
        log: true,
        disabled: off,
        text: varies(gamma) ? `${short(gamma[0])} … ${short(gamma[gamma.length - 1])}` : undefined,
      });
      const only =
        model.get("approach") === "distribution"
          ? "the distribution-centric approach always sees the true targets"
          : "";
      mixing.update({
        low: 0,
        high: 1,
        value: alpha[alpha.length - 1],
        normal: model.get("mixing") === null ? null : 0,
        disabled: off || only,
        text:
          model.get("mixing") === null && new Set(alpha).size > 1
            ? `${short(Math.min(...alpha))} … ${short(Math.max(...alpha))}`
            : undefined,
      });
      const all = data.steps();
      steps.update({
        low: 1,
        high: interactive ? Math.max(30, all) : all,
        value: all,
        normal: null,
        whole: true,
        disabled: off,
      });
      const kernelOff = live ? "" : frame.standalone && data.content().kernels.length ? "" : why;
      const silent =
        frame.standalone && live ? "the kernel lives in Python: open this view in a notebook to change it" : kernelOff;
      const [ell, size] = [
        refits.current("length_scale") ?? fitted.length_scale ?? given.length_scale,
        refits.current("amplitude") ?? fitted.amplitude ?? given.amplitude,
      ];
      const [ellCentre, sizeCentre] = [given.length_scale ?? ell, given.amplitude ?? size];
      length.node.hidden = ell === null || ellCentre === null;
      amplitude.node.hidden = size === null || sizeCentre === null;
      if (ell !== null && ellCentre !== null)
        length.update({
          low: ellCentre / 30,
          high: ellCentre * 30,
          value: ell,
          normal: refits.current("length_scale") === null ? null : ellCentre,
          log: true,
          disabled: silent,
        });
      if (size !== null && sizeCentre !== null)
        amplitude.update({
          low: sizeCentre / 30,
          high: sizeCentre * 30,
          value: size,
          normal: refits.current("amplitude") === null ? null : sizeCentre,
          log: true,
          disabled: silent,
        });
      kernel.update(kernels, fitted.text, Boolean(silent));
      held.update(
        features.filter((_, i) => i !== axis),
        Boolean(data.content().curve),
        frame.standalone ? "the kernel lives in Python: open this view in a notebook to move it" : "",
      );
    },
  };
}
