// PosteriorExplorer: what each step of a self-distilled Gaussian process believes, and why; the other half is
// explorer.py.

import { renderClassification } from "./classification.js";
import { renderRegression } from "./regression.js";

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
function render(view) {
  return view.model.get("content").task === "classification" ? renderClassification(view) : renderRegression(view);
}

export default { render };
