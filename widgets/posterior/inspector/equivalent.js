// The ordinary Gaussian process that a step of self-distillation is the same thing as, by one formula and not by steps.

import { products, taken } from "./filters.js";

/** @typedef {{ mean: Float64Array, std: Float64Array, difference: { mean: number, std: number } }} Equivalent */

/**
 * @param {import("../data.js").Data} data
 * @param {import("../data.js").Seen} seen
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
    const inverse = Float64Array.from(d, (value, i) =>
      Number.isFinite(noise[i]) && value + noise[i] > floor ? 1 / (value + noise[i]) : 0,
    );
    const mean = products(along.data, m, [inverse.map((value, i) => value * c[i])])[0].map(
      (value) => value * scale[k] + offset[k],
    );
    const prior = data.numbers(eigen.prior).data;
    const std = taken(along.data, m, (i) => inverse[i]).map(
      (value, j) => Math.sqrt(Math.max(0, prior[j] - value)) * scale[k],
    );
    // What is compared is the steps taken one by one, never the formula with itself.
    const steps =
      seen.approach === "distribution" && index < data.steps()
        ? conditioned(d, data.schedule("noise").slice(0, index + 1))
        : null;
    const stepwise = steps
      ? products(along.data, m, [steps.weights.map((w, i) => w * c[i])])[0].map((value) => value * scale[k] + offset[k])
      : seen.means[index];
    const wide = steps
      ? taken(along.data, m, (i) => steps.reduction[i]).map(
          (value, j) => Math.sqrt(Math.max(0, prior[j] - value)) * scale[k],
        )
      : seen.std(index);
    return { mean, std, difference: { mean: largest(mean, stepwise), std: largest(std, wide) } };
  });
}

/**
 * Distribution-centric steps one after another: each posterior is the next prior, and the same targets are seen again.
 * In a direction of eigenvalue d the process has variance d·ρ, and its mean the weight w.
 * @param {ArrayLike<number>} d
 * @param {number[]} noise
 */
function conditioned(d, noise) {
  const weights = new Float64Array(d.length);
  const share = new Float64Array(d.length).fill(1);
  for (const gamma of noise) {
    for (let i = 0; i < d.length; i++) {
      const gain = share[i] / (d[i] * share[i] + gamma);
      weights[i] += gain * (1 - d[i] * weights[i]);
      share[i] *= gamma / (d[i] * share[i] + gamma);
    }
  }
  return { weights, reduction: share.map((rho, i) => (1 - rho) / d[i]) };
}

/** @param {Float64Array} a @param {Float64Array} b */
function largest(a, b) {
  return a.reduce((most, value, j) => Math.max(most, Math.abs(value - b[j])), 0);
}
