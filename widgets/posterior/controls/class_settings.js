// The settings of a classification view; those that need a refit ask Python first.

export const SHOWN = /** @type {const} */ ({
  probability: "class probability",
  mean: "latent mean",
  std: "latent standard deviation",
});

/**
 * @param {import("../../parts/dom.js").Model} model
 * @param {ReturnType<typeof import("../class_data.js").createClassData>} data
 * @param {() => boolean} live a kernel can refit
 * @param {(wish: Record<string, any>) => void} ask
 * @returns {import("../../parts/frame.js").Setting[]}
 */
export function classSettings(model, { content }, live, ask) {
  return [
    {
      trait: "approach",
      label: "Approach",
      kind: "choice",
      inBar: true,
      choices: () =>
        live()
          ? [
              ["data", "data-centric"],
              ["distribution", "distribution-centric"],
              ["both", "both, side by side"],
            ].map(([value, label]) => ({ value, label }))
          : [],
      save: (value) => ask({ approach: value }),
    },
    {
      trait: "mode",
      label: "Mode",
      kind: "choice",
      inBar: true,
      choices: () =>
        live() && model.get("approach") !== "data"
          ? ["duplicate", "scaled", "sequential"].map((value) => ({ value, label: value }))
          : [],
      save: (value) => ask({ mode: value }),
      help: "duplicate: each label τ times, exact · scaled: kernel τ·k, the paper's code · sequential: the last Laplace posterior as the next prior",
    },
    {
      trait: "show",
      label: "Show",
      kind: "choice",
      inBar: true,
      choices: () => Object.entries(SHOWN).map(([value, label]) => ({ value, label })),
    },
    {
      trait: "class_name",
      label: "of",
      kind: "choice",
      inBar: true,
      choices: () =>
        content().classes.length > 2 || content().axes.length === 1
          ? content().classes.map((value) => ({ value, label: value }))
          : [],
    },
    {
      trait: "feature",
      label: "Axis →",
      kind: "choice",
      choices: () => (live() ? content().features.map(({ name }) => ({ value: name, label: name })) : []),
      save: (value) => ask({ feature: value }),
    },
    {
      trait: "feature_y",
      label: "Axis ↑",
      kind: "choice",
      choices: () =>
        live() && content().axes.length > 1 ? content().features.map(({ name }) => ({ value: name, label: name })) : [],
      save: (value) => ask({ feature_y: value }),
    },
    { trait: "fan", label: "Draw the decision boundaries (or lines) of all steps", kind: "switch" },
  ];
}
