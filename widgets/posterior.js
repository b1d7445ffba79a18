// PosteriorExplorer: what each step of a self-distilled Gaussian process believes, and why; the other half is posterior.py.

import { renderRegression } from "./posterior_regression.js";

/** @param {{ model: import("./parts/dom.js").Model, el: HTMLElement }} view */
function render(view) {
  return renderRegression(view);
}

export default { render };
