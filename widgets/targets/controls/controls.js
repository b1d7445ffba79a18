// Sliders that sample again: sampler, number of steps and guidance of a run, and the scale of an adapter for all of
// them.

import { createResampling } from "./resampling.js";
import { el, fill, number, write } from "../../parts/dom.js";
import { createSlider } from "../../parts/slider.js";

/** What can be computed of a run; mirrors `Resampler.offer` in resampler.py.
 * @typedef {{ sampler: string, steps: number, guidance: number, samplers: string[], most: number, guided: boolean,
 *   why_unguided: string, own_times: boolean }} Offered */

/**
 * @typedef {{ runs: Record<string, Offered>, adapter: { name: string, rank: number, runs: string[] } | null, launch:
 *   boolean, launch_classes: string[], hand_over: { base: string | null, students: string[] } }} Offer
 */

const SAMPLERS = /** @type {Record<string, string>} */ ({
  ddim: "DDIM",
  euler: "Euler",
  heun: "Heun, two calls per step",
  "dpm-solver++": "DPM-Solver++ (2M)",
  ancestral: "ancestral (DDIM, η = 1)",
  consistency: "consistency (new noise each step)",
});
const FEW = 32; // steps that a student of a few can be given
const MANY = 100;
const STRONG = 2; // scale of an adapter, either way

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createControls(frame, scene) {
  const { model } = frame;
  const resampling = createResampling(frame);
  const offer = () => /** @type {Offer} */ (model.get("offer"));
  const tuned = () =>
    offer().runs[model.get("tuned")]
      ? /** @type {string} */ (model.get("tuned"))
      : (Object.keys(offer().runs)[0] ?? "");
  const back = "as it was given";

  const chips = el("div", {
    class: "dw-chips",
    role: "radiogroup",
    "aria-label": "Which run the sliders are about",
    "data-testid": "tuned",
  });
  const sampler = el("select", { "data-testid": "setting-sampler", "aria-label": "sampler" });
  frame.listen(sampler, "change", () => resampling.change(tuned(), { sampler: sampler.value }));
  const samplerRow = el(
    "label",
    { class: "dw-setting dw-sampler", title: "The rule that makes the steps; asks Python" },
    el("span", { class: "dw-slider-label" }, "sampler"),
    sampler,
  );
  const steps = createSlider(frame, {
    name: "steps",
    label: "steps",
    help: "How many steps the sampler makes; asks Python",
    move: (value) => resampling.change(tuned(), { steps: value }),
    reset: () => resampling.undo(tuned(), "steps"),
    back,
  });
  const guidance = createSlider(frame, {
    name: "guidance",
    symbol: "w",
    label: "guidance",
    help: "Scale of classifier-free guidance, 1 is none; asks Python",
    move: (value) => resampling.change(tuned(), { guidance: Math.round(value * 20) / 20 }),
    reset: () => resampling.undo(tuned(), "guidance"),
    back,
  });
  const adapter = createSlider(frame, {
    name: "adapter",
    symbol: "s",
    label: "adapter",
    help: "How strongly the low-rank change acts, on every model that takes it; asks Python",
    move: (value) => resampling.strengthen(Math.round(value * 20) / 20),
    reset: () => resampling.strengthen(0),
    back: "off",
  });
  const reset = el(
    "button",
    { class: "dw-button dw-outlined", "data-testid": "resample-reset", title: "Show all runs as they were given" },
    "all as given",
  );
  frame.listen(reset, "click", () => resampling.reset());
  const note = el("span", { class: "dw-quiet dw-fine", "data-testid": "resample-note" });
  const title = el("span", { class: "dw-strong" }, "Sample again");
  const top = el("div", { class: "dw-row" }, title, chips, note, reset);
  const sliders = el(
    "div",
    { class: "dw-sliders", role: "group", "aria-label": "How the run is sampled" },
    samplerRow,
    steps.node,
    guidance.node,
    adapter.node,
  );
  const node = el(
    "section",
    { class: "dw-controls", "data-testid": "controls", "aria-label": "Sample again" },
    top,
    sliders,
  );
  let chipped = "";
  let listed = "";
  frame.watch(["tuned", "sampling", "adapter_scale"], () => frame.invalidate());

  /** @param {string} name */
  function chip(name) {
    const mark = el("i", { class: "dw-dot", "aria-hidden": "true" });
    const one = el(
      "button",
      { class: "dw-class", role: "radio", "data-run": name, title: `Sliders for ${name}` },
      mark,
      el("span", {}, name),
    );
    one.addEventListener("click", () => frame.save({ tuned: name }));
    one.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const names = Object.keys(offer().runs);
      frame.save({ tuned: names[(names.indexOf(name) + step + names.length) % names.length] });
      /** @type {HTMLElement | null} */ (chips.querySelector("[aria-checked='true']"))?.focus();
    });
    return one;
  }

  return {
    node,
    /** @param {import("../../parts/theme.js").Theme} theme */
    update(theme) {
      const { runs, adapter: change } = offer();
      const names = Object.keys(runs ?? {});
      // Without a kernel the status line says how each run was made; sliders that cannot move would only promise.
      node.hidden = frame.standalone || !names.length;
      frame.root.toggleAttribute("data-resampling", resampling.busy());
      if (node.hidden) return;
      const name = tuned();
      const state = JSON.stringify([names, theme.dark]);
      if (state !== chipped) {
        chipped = state;
        fill(chips, ...names.map(chip));
      }
      chips.hidden = names.length < 2;
      for (const one of /** @type {HTMLElement[]} */ ([...chips.children])) {
        const on = one.dataset.run === name;
        one.setAttribute("aria-checked", String(on));
        one.tabIndex = on ? 0 : -1;
        const run = scene.runs().find((item) => item.name === one.dataset.run);
        const mark = /** @type {HTMLElement} */ (one.firstElementChild);
        if (run) mark.style.borderColor = mark.style.backgroundColor = scene.colour(run, theme.dark);
      }
      const given = runs[name];
      const wish = resampling.of(name);
      const options = JSON.stringify(given.samplers);
      if (options !== listed) {
        listed = options;
        fill(sampler, ...given.samplers.map((value) => el("option", { value }, SAMPLERS[value] ?? value)));
      }
      sampler.value = wish.sampler ?? given.sampler;
      const most = given.own_times ? Math.max(FEW, 2 * given.steps) : Math.max(MANY, 2 * given.steps);
      steps.update({
        low: 1,
        high: Math.min(most, given.most),
        value: wish.steps ?? given.steps,
        normal: "steps" in wish ? given.steps : null,
        whole: true,
      });
      const strength = wish.guidance ?? given.guidance;
      const guidanceText =
        strength === 1 ? "1 (none)" : strength === 0 ? "0 (no class)" : number(strength, 2).replace(/0$/, "");
      guidance.update({
        low: 0,
        high: Math.max(8, 2 * given.guidance),
        value: strength,
        normal: "guidance" in wish ? given.guidance : null,
        disabled: given.guided ? "" : `Not guided: ${given.why_unguided}`,
        text: given.guided ? guidanceText : "none",
      });
      adapter.node.hidden = !change;
      if (change) {
        const label = adapter.node.querySelector(".dw-slider-label");
        if (label) write(/** @type {Element} */ (label), change.name);
        adapter.node.title = `${change.name}, rank ${change.rank}, on ${change.runs.join(", ") || "no model here"}`;
        adapter.update({
          low: -STRONG,
          high: STRONG,
          value: resampling.scale(),
          normal: resampling.scale() === 0 ? null : 0,
          disabled: change.runs.length ? "" : `No model here has the layers that “${change.name}” changes`,
          text: resampling.scale() > 0 ? `+${number(resampling.scale(), 2)}` : number(resampling.scale(), 2),
        });
      }
      const run = scene.runs().find((item) => item.name === name);
      write(
        note,
        resampling.busy()
          ? "sampling …"
          : run
            ? `${run.calls.toLocaleString("en")} ${run.calls === 1 ? "call" : "calls"} per seed`
            : "",
      );
      reset.hidden = !resampling.changed();
    },
  };
}
