// The ordinary Gaussian process that a step of self-distillation is the same thing as, by one formula and not by steps.

import { products, taken } from "./posterior_filters.js";

/** @typedef {{ mean: Float64Array, std: Float64Array, difference: { mean: number, std: number } }} Equivalent */

/**
 * @param {import("./posterior_data.js").Data} data
 * @param {import("./posterior_data.js").Seen} seen
 * @param {number} index
 * @returns {Equivalent | null}
 */
export function equivalentOf(data, seen, index) {
  const { eigen, offset, scale } = data.content();
  const { filter } = seen;
  if (!eigen || !filter) return null;
  return data.once(`same ${seen.approach} ${index}`, () => {
    const d = data.numbers(eigen.values).data.subarray(0, eigen.kept);
    const c = data.column(eigen.coefficients);
    const along = data.numbers(eigen.projections);
    const m = along.shape[0];
    const noise = filter.effective[index];
    const k = data.output();
    const floor = d[0] * Number.EPSILON * 10;
    const inverse = Float64Array.from(d, (value, i) => (Number.isFinite(noise[i]) && value + noise[i] > floor ? 1 / (value + noise[i]) : 0));
    const mean = products(along.data, m, [inverse.map((value, i) => value * c[i])])[0].map((value) => value * scale[k] + offset[k]);
    const prior = data.numbers(eigen.prior).data;
    const std = taken(along.data, m, (i) => inverse[i]).map((value, j) => Math.sqrt(Math.max(0, prior[j] - value)) * scale[k]);
    return { mean, std, difference: { mean: largest(mean, seen.means[index]), std: largest(std, seen.std(index)) } };
  });
}

/** @param {Float64Array} a @param {Float64Array} b */
function largest(a, b) {
  return a.reduce((most, value, j) => Math.max(most, Math.abs(value - b[j])), 0);
}
