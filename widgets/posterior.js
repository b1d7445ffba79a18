// PosteriorExplorer: what each step of a self-distilled Gaussian process believes, and why; the other half is posterior.py.

import { renderClassification } from "./posterior_classification.js";
import { renderRegression } from "./posterior_regression.js";

/** @param {{ model: import("./parts/dom.js").Model, el: HTMLElement }} view */
function render(view) {
  return view.model.get("content").task === "classification" ? renderClassification(view) : renderRegression(view);
}

export default { render };
