// The settings of a regression view.

/**
 * @param {import("../data.js").Data} data
 * @param {() => boolean} standalone
 * @param {(wish: Record<string, any>) => void} ask Python
 * @returns {import("../../parts/frame.js").Setting[]}
 */
export function regressionSettings({ content }, standalone, ask) {
  return [
    {
      trait: "approach",
      label: "Approach",
      kind: "choice",
      inBar: true,
      choices: () =>
        content().eigen
          ? [
              ["data", "data-centric"],
              ["distribution", "distribution-centric"],
              ["both", "both, side by side"],
            ].map(([value, label]) => ({ value, label }))
          : [],
    },
    {
      trait: "feature",
      label: "Axis",
      kind: "choice",
      inBar: true,
      choices: () => (standalone() ? [] : content().features.map(({ name }) => ({ value: name, label: name }))),
      save: (value) => ask({ feature: value }),
    },
    {
      trait: "output",
      label: "Output",
      kind: "choice",
      inBar: true,
      choices: () => content().outputs.map((value) => ({ value, label: value })),
    },
    { trait: "fan", label: "Draw the means of all steps and of the limit", kind: "switch" },
    { trait: "targets", label: "Draw what the step was fitted to", kind: "switch" },
    { trait: "equivalent", label: "Overlay the ordinary process that is the same thing", kind: "switch" },
    { trait: "resampled", label: "Bias² and variance over resampled noise", kind: "switch" },
  ];
}
