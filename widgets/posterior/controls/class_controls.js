// The sliders under a classification: each asks Python, since no eigensystem answers for a classifier.

import { el, fill } from "../../parts/dom.js";
import { lawFormulas, lightUp } from "./formula.js";
import { createHeld } from "./held.js";
import { createKernel } from "./kernel.js";
import { createSlider } from "../../parts/slider.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {() => import("../class_data.js").Content} content
 * @param {ReturnType<typeof import("../../parts/wishes.js").createWishes>} refits
 */
export function createClassControls(frame, content, refits) {
  const { model } = frame;
  const law = el("div", { class: "dw-formula dw-law", "data-testid": "formula" });
  /** @param {string} term */
  const touch = (term) => (/** @type {boolean} */ on) => lightUp(law, on ? term : null);
  /** @param {string} name @param {string} symbol @param {string} label @param {string} help */
  const slider = (name, symbol, label, help) =>
    createSlider(frame, {
      name,
      symbol,
      label,
      help: `${help}; asks Python`,
      move: (value) => refits.ask({ [name]: value }),
      reset: () => refits.ask({ [name]: null }),
      touch: touch(name === "mixing" ? "mixing" : "kernel"),
    });
  const steps = createSlider(frame, {
    name: "steps",
    symbol: "τ",
    label: "steps",
    help: "How many times the classifier is fitted; asks Python",
    move: (value) => refits.ask({ steps: value }),
    touch: touch("step"),
  });
  const mixing = slider("mixing", "α", "mixing", "Weight of the true labels in what a data-centric step is fitted to");
  const length = slider("length_scale", "ℓ", "length-scale", "Length-scale of the kernel");
  const amplitude = slider("amplitude", "a", "amplitude", "Amplitude of the kernel");
  const kernel = createKernel(frame, refits);
  const held = createHeld(frame, refits, "map");
  const sliders = el(
    "div",
    { class: "dw-sliders", role: "group", "aria-label": "Sliders" },
    steps.node,
    length.node,
    mixing.node,
    amplitude.node,
    kernel.node,
  );
  const node = el("div", { class: "dw-controls", "data-testid": "controls" }, sliders, held.node, law);
  let lawful = "";

  return {
    node,
    update() {
      const { given, kernels, kernel: text, features, axes, live, why_not: why } = content();
      const off = frame.standalone
        ? "the classifier lives in Python: open this view in a notebook to change it"
        : live
          ? ""
          : why;
      steps.update({
        low: 1,
        high: live ? 20 : model.get("steps"),
        value: refits.current("steps"),
        normal: null,
        whole: true,
        disabled: off,
      });
      const alpha = refits.current("mixing") ?? given.mixing[given.mixing.length - 1];
      const only =
        model.get("approach") === "distribution" ? "the distribution-centric approach always sees the true labels" : "";
      mixing.update({
        low: 0,
        high: 1,
        value: alpha,
        normal: refits.current("mixing") === null ? null : 0,
        disabled: off || only,
      });
      for (const [part, name] of /** @type {const} */ ([
        [length, "length_scale"],
        [amplitude, "amplitude"],
      ])) {
        const centre = given[name];
        part.node.hidden = centre === null;
        if (centre !== null)
          part.update({
            low: centre / 30,
            high: centre * 30,
            value: refits.current(name) ?? centre,
            normal: refits.current(name) === null ? null : centre,
            log: true,
            disabled: off,
          });
      }
      kernel.update(kernels, text, Boolean(off));
      held.update(
        features.filter((_, i) => !axes.includes(i)),
        live,
        off,
      );
      const forms = content()
        .variants.map(({ approach, mode }) => `${approach} ${mode}`)
        .join();
      if (forms !== lawful) {
        lawful = forms;
        fill(
          law,
          ...content().variants.map((variant) =>
            el(
              "div",
              {},
              el("div", { class: "dw-formula-row" }, ...lawFormulas(variant.approach, variant.mode)),
              el(
                "p",
                {},
                el("b", {}, `${variant.approach}-centric. `),
                LAWS[variant.approach === "data" ? "data" : /** @type {keyof typeof LAWS} */ (variant.mode)],
              ),
            ),
          ),
        );
      }
    },
  };
}

const LAWS = {
  data: "Step 1 is the ordinary classifier. Each later step is fitted to the last probabilities π, with the continuous Bernoulli likelihood. Its mean is flatter than the sigmoid, so |f| grows from step to step: where data-centric regression shrinks, data-centric classification sharpens.",
  duplicate:
    "The posterior is the next prior and the labels are seen again: every label counts τ times. Exact up to Laplace's approximation.",
  scaled:
    "Ordinary classification with the kernel τ·k, as in the paper's code. Same mode and latent mean as counting every label τ times, but τ times its latent variance: probabilities stay closer to ½.",
  sequential:
    "Each step's Laplace posterior is the Gaussian prior of the next: a further approximation, close to counting every label τ times.",
};
