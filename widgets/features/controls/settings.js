// The settings of a view of similarity maps.

/**
 * @param {import("../../parts/dom.js").Model} model
 * @param {import("../data.js").Data} data
 * @returns {import("../../parts/frame.js").Setting[]}
 */
export function similaritySettings(model, data) {
  function classChoices() {
    const names = new Set(data.content().pairs.flatMap((pair) => pair.measures[model.get("measure")]?.classes ?? []));
    return [{ value: "", label: "all classes" }, ...[...names].map((value) => ({ value, label: value }))];
  }

  return [
    {
      trait: "measure",
      label: "Measure",
      kind: "choice",
      inBar: true,
      choices: () => data.content().measures.map((value) => ({ value, label: value })),
    },
    { trait: "class_name", label: "Examples of", kind: "choice", inBar: true, choices: classChoices },
    { trait: "best_match", label: "Outline the best match of each row", kind: "switch" },
    { trait: "diagonal", label: "Draw the diagonal of equal depth", kind: "switch" },
    { trait: "numbers", label: "Write the numbers into the cells", kind: "switch" },
    {
      trait: "stretch",
      label: "Colours follow the values",
      kind: "switch",
      help: "From the 2nd to the 98th percentile of all epochs; otherwise from 0 to 1, the same for every map",
    },
    {
      trait: "colour_map",
      label: "Colours",
      kind: "choice",
      choices: () => ["viridis", "cividis"].map((value) => ({ value, label: value })),
    },
  ];
}
