// What Python sends of a regression; content.py makes it.

/** @typedef {"data" | "distribution"} Approach */
/** @typedef {{ name: string, low: number, high: number, median: number, whole: boolean }} Feature */

/** Mirrors `regression_content` in content.py.
 * @typedef {object} Content
 * @property {"regression"} task
 * @property {boolean} live
 * @property {boolean} editable
 * @property {string} why_not
 * @property {string} method
 * @property {Feature[]} features
 * @property {number} axis
 * @property {string[]} outputs
 * @property {[number, number]} span
 * @property {boolean} curve the grid is a line through the inputs, not a cloud of them
 * @property {string} grid
 * @property {{ x: string, y: string, groups: string, rows: number }} train
 * @property {{ approach: Approach, noise: number[], mixing: number[], length_scale: number | null, amplitude:
 *   number | null, kernel: string }} given
 * @property {{ text: string, length_scale: number | null, amplitude: number | null }} kernel
 * @property {string[]} kernels
 * @property {number[]} offset
 * @property {number[]} scale
 * @property {{ kept: number, values: string, coefficients: string, projections: string, prior: string, directions:
 *   string | null, tests: string | null, terms: import("./inspector/filters.js").Terms } | null} eigen
 * @property {{ mean: string, variance: string, fitted: string | null, targets: string | null, tests: string | null,
 *   evidence: number[] } | null} static
 * @property {{ x: string, y: string, true: boolean } | null} test
 * @property {{ coefficients: string, noise: number[], tests: string | null } | null} truth
 * @property {{ grid: string, values: string, noise: string } | null} samples
 */

export {};
