// The inspector of a FeatureSimilarityExplorer: one pair of layers as numbers, as two linked clouds and as two Gram
// matrices.

import { at, tensor } from "../../parts/arrays.js";
import { classColour, isHollow } from "../../parts/colours.js";
import { el, fill, number, write } from "../../parts/dom.js";
import { createGram } from "../../parts/gram.js";
import { thumbnail } from "../../parts/picture.js";
import { createScatter } from "../../parts/scatter.js";
import { facts } from "../../parts/tooltip.js";
import { createNumbers } from "./numbers.js";

/** @typedef {{ a: string, b: string }} LayerPair */

/** One network's side of the pair.
 * @typedef {object} Side
 * @property {string} name
 * @property {"a" | "b"} which
 * @property {string} role CSS class of its colour
 * @property {number} p which pair of networks
 * @property {string[]} layers
 * @property {number[]} slices
 * @property {import("../content.js").Views} views
 */

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 */
export function createInspector(frame, data) {
  const { model } = frame;
  const numbers = createNumbers(frame, data);
  const plots = el("div", { class: "dw-plots" });
  const legend = el("div", { class: "dw-classes", role: "group", "aria-label": "Classes", "data-testid": "classes" });
  frame.inspector.append(...numbers.nodes, plots, legend);

  /** @type {number[]} */
  let hoveredExamples = [];
  /** @type {number | null} */
  let only = null;
  let kept = /** @type {number | null} */ (null);
  /**
   * @type {{ side: Side, title: HTMLElement, scatter: ReturnType<typeof createScatter>, gram: ReturnType<typeof
   *   createGram> }[]}
   */
  let panels = [];
  let built = /** @type {any} */ (null);

  const labels = () => tensor(model, data.content().examples?.labels);
  const images = () => tensor(model, data.content().examples?.images);

  /** @param {number} example */
  function describe(example) {
    const label = labels()?.data[example] ?? 0;
    const origin = tensor(model, data.content().examples?.index)?.data[example] ?? example;
    return { name: data.content().classes[label] ?? `class ${label}`, origin };
  }

  /** @param {number} example */
  function card(example) {
    const { name, origin } = describe(example);
    const stack = images();
    return el(
      "div",
      { class: "dw-card" },
      stack && thumbnail(stack, example, 64),
      el("div", {}, el("b", {}, name), el("div", { class: "dw-quiet" }, `example ${origin}`)),
    );
  }

  /**
   * @param {number[]} examples
   * @param {{ x: number, y: number } | null} point
   * @param {...import("../../parts/dom.js").Child} more
   */
  function hover(examples, point, ...more) {
    hoveredExamples = examples;
    if (point)
      frame.tooltip.show(
        point.x,
        point.y,
        el("div", { class: "dw-cards" }, ...[...new Set(examples)].map(card)),
        ...more,
      );
    else frame.tooltip.hide();
    frame.invalidate();
  }

  /** @param {number} example */
  const pin = (example) => frame.select({ example: model.get("selection").example === example ? null : example });

  function build() {
    const { pairs, classes } = data.content();
    /** @type {Side[]} */
    const sides = [];
    const seenViews = new Set();
    for (const [p, pair] of pairs.entries()) {
      for (const which of /** @type {("a" | "b")[]} */ (["a", "b"])) {
        const views = which === "a" ? pair.views_a : pair.views_b;
        // Two comparisons with one teacher share its views: it is drawn once.
        if (!views || seenViews.has(views.projections)) continue;
        seenViews.add(views.projections);
        const name = which === "a" ? pair.name_a : pair.name_b;
        const role = which === "a" ? "dw-teacher" : p === 0 ? "dw-student" : "dw-second";
        sides.push({
          p,
          name,
          which,
          role,
          layers: which === "a" ? pair.layers_a : pair.layers_b,
          slices: pair.slices,
          views,
        });
      }
    }
    panels = sides.map((side, k) => ({
      side,
      title: el("span", { class: "dw-layer" }),
      scatter: createScatter(frame, `scatter-${k}`, {
        hover: (example, point) => hover(example === null ? [] : [example], point),
        pin,
        describe: (example) => `${describe(example).name}, example ${describe(example).origin}`,
      }),
      gram: createGram(frame, `gram-${k}`, {
        hover: (pair, point) =>
          hover(pair ? [pair[0], pair[1]] : [], point, pair && facts([["alike", number(pair[2], 2)]])),
        pin,
      }),
    }));
    const line = (/** @type {string} */ text) => el("div", { class: "dw-plots-title" }, text);
    plots.style.setProperty("--dw-panels", String(Math.max(1, panels.length)));
    fill(
      plots,
      ...panels.map(({ side, title }) =>
        el(
          "div",
          { class: `dw-panel-title ${side.role}` },
          el("span", { class: "dw-net", title: side.name }, side.name),
          title,
        ),
      ),
      ...(panels.length ? [line("Principal components, one point per example")] : []),
      ...panels.map(({ scatter }) => scatter.canvas),
      ...(panels.length ? [line("Gram matrices by class: red alike, blue unlike")] : []),
      ...panels.map(({ gram }) => gram.canvas),
    );
    const inUse = new Set(labels()?.data ?? []);
    fill(
      legend,
      ...classes.map((name, index) => {
        if (!inUse.has(index)) return null;
        const chip = el(
          "button",
          { class: "dw-class", title: `Show only ${name}`, "aria-pressed": "false", "data-class": index },
          el("i", { "aria-hidden": "true" }),
          el("span", {}, name),
        );
        chip.addEventListener("click", () => {
          kept = kept === index ? null : index;
          only = kept;
          frame.invalidate();
        });
        chip.addEventListener("pointerenter", () => ((only = index), frame.invalidate()));
        chip.addEventListener("pointerleave", () => ((only = kept), frame.invalidate()));
        return chip;
      }),
    );
  }

  return {
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {LayerPair | null} pair
     * @param {boolean} preview the pair is under the cursor and not pinned
     */
    update(theme, pair, preview) {
      if (built !== data.content()) {
        built = data.content();
        build();
      }
      numbers.update(pair, preview);
      plots.hidden = pair === null;
      legend.hidden = pair === null || !panels.length;
      if (!pair) return;
      if (!panels.length) {
        fill(
          plots,
          el(
            "p",
            { class: "dw-quiet" },
            "This record keeps no examples, so there is nothing more to see of these layers.",
          ),
        );
        return;
      }
      const { classes } = data.content();
      const byExample = labels()?.data ?? new Int32Array();
      const pinned = model.get("selection").example;
      const size = Math.max(
        80,
        Math.min(
          frame.root.hasAttribute("data-narrow") ? 300 : 188,
          Math.floor((frame.inspector.clientWidth - 24 - 12 * (panels.length - 1)) / panels.length),
        ),
      );
      for (const { side, title, scatter, gram } of panels) {
        const index = side.which === "a" ? data.locate(side.p, "rows", pair.a) : data.locate(side.p, "columns", pair.b);
        const layer = index < 0 ? "no such layer" : side.layers[index];
        write(title, layer);
        title.title = layer;
        scatter.canvas.hidden = gram.canvas.hidden = index < 0;
        if (index < 0) continue;
        const stack = (/** @type {keyof import("../content.js").Views} */ name) =>
          /** @type {import("../../parts/arrays.js").Tensor} */ (tensor(model, side.views[name]));
        // A network that does not change along the epochs is kept once.
        const when = Math.min(side.slices[data.position()] ?? 0, stack("projections").shape[0] - 1);
        const [first, second] = at(stack("explained"), when, index).data;
        scatter.update(
          theme,
          {
            label: `Examples in ${layer} of ${side.name}, coloured by class`,
            points: data.once(
              `points ${side.views.projections} ${when} ${index}`,
              () => at(stack("projections"), when, index).data,
            ),
            labels: byExample,
            classes,
            axes: [`PC 1 (${Math.round(100 * first)} %)`, `PC 2 (${Math.round(100 * second)} %)`],
            pinned,
            hovered: hoveredExamples,
            only,
          },
          size,
        );
        gram.update(
          theme,
          {
            label: `Gram matrix of ${layer} of ${side.name}, examples ordered by class`,
            values: data.once(`gram ${side.views.grams} ${when} ${index}`, () => at(stack("grams"), when, index).data),
            examples: stack("gram_examples").data,
            labels: byExample,
            pinned,
            hovered: hoveredExamples,
          },
          size,
        );
      }
      for (const chip of legend.querySelectorAll("button")) {
        const label = Number(chip.dataset.class);
        const mark = /** @type {HTMLElement} */ (chip.firstElementChild);
        mark.style.borderColor = classColour(label, theme.dark);
        mark.style.backgroundColor = isHollow(label) ? "transparent" : classColour(label, theme.dark);
        chip.setAttribute("aria-pressed", String(kept === label));
      }
    },
  };
}
