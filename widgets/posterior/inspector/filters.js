// Self-distillation as a filter on eigenvalues, in the browser; the same formulas as workbench/gp/making/filters.py and
// paths.py.

/** What T steps, and the limit behind them (index T), do to each of r eigen-directions.
 * @typedef {object} Filters
 * @property {Float64Array[]} weights w, which act on Vᵀy
 * @property {Float64Array[]} kept b = d w
 * @property {Float64Array[]} effective noise of the ordinary process with the same mean
 * @property {number[]} noise of the ordinary process with the same variance; NaN where that is the limit of none
 */

/**
 * @param {"data" | "distribution"} approach
 * @param {ArrayLike<number>} d eigenvalues
 * @param {number[]} noise γ of each step
 * @param {number[]} mixing α of each step
 * @returns {Filters}
 */
export function filters(approach, d, noise, mixing) {
  return approach === "data" ? dataFilters(d, noise, mixing) : distributionFilters(d, noise);
}

/**
 * b_t = d/(d+γ_t) · (α_t + (1−α_t) b_{t−1}), b_0 = 1; then ridge regression with γ/α.
 * @param {ArrayLike<number>} d
 * @param {number[]} noise
 * @param {number[]} mixing
 * @returns {Filters}
 */
function dataFilters(d, noise, mixing) {
  const r = d.length;
  const weights = [];
  const kept = [];
  const effective = [];
  let last = new Float64Array(r).fill(1);
  noise.forEach((gamma, t) => {
    const alpha = mixing[t];
    const [w, b, e] = [new Float64Array(r), new Float64Array(r), new Float64Array(r)];
    for (let i = 0; i < r; i++) {
      const seen = alpha + (1 - alpha) * last[i];
      w[i] = seen / (d[i] + gamma);
      b[i] = d[i] * w[i];
      e[i] = (gamma + d[i] * (1 - seen)) / seen;
    }
    last = b;
    weights.push(w);
    kept.push(b);
    effective.push(e);
  });
  const [gamma, alpha] = [noise[noise.length - 1], mixing[mixing.length - 1]];
  const w = Float64Array.from(d, (value) => alpha / (alpha * value + gamma));
  weights.push(w);
  kept.push(Float64Array.from(d, (value, i) => value * w[i]));
  effective.push(new Float64Array(r).fill(gamma / alpha));
  return { weights, kept, effective, noise: [...noise, gamma] };
}

/**
 * Ordinary regression with the harmonic noise 1 / Σ 1/γ_s; then interpolation.
 * @param {ArrayLike<number>} d
 * @param {number[]} noise
 * @returns {Filters}
 */
function distributionFilters(d, noise) {
  const harmonic = harmonicNoise(noise);
  const weights = harmonic.map((gamma) => Float64Array.from(d, (value) => 1 / (value + gamma)));
  const floor = d[0] * d.length * Number.EPSILON;
  weights.push(Float64Array.from(d, (value) => (value > floor ? 1 / value : 0)));
  return {
    weights,
    kept: weights.map((w) => Float64Array.from(d, (value, i) => value * w[i])),
    effective: [...harmonic, 0].map((gamma) => new Float64Array(d.length).fill(gamma)),
    noise: [...harmonic, 0],
  };
}

/**
 * The noise of the one regression that equals t distribution-centric steps.
 * @param {number[]} noise
 */
export function harmonicNoise(noise) {
  let inverse = 0;
  return noise.map((gamma) => 1 / (inverse += 1 / gamma));
}

/**
 * The products basis · (w_t ∘ c), for all t at once: (m, r) and T vectors of r give T vectors of m.
 * @param {ArrayLike<number>} basis rows one after another
 * @param {number} m
 * @param {Float64Array[]} vectors
 * @returns {Float64Array[]}
 */
export function products(basis, m, vectors) {
  const r = m ? basis.length / m : 0;
  const found = vectors.map(() => new Float64Array(m));
  for (let t = 0; t < vectors.length; t++) {
    const [vector, out] = [vectors[t], found[t]];
    for (let j = 0, k = 0; j < m; j++) {
      let sum = 0;
      for (let i = 0; i < r; i++, k++) sum += basis[k] * vector[i];
      out[j] = sum;
    }
  }
  return found;
}

/**
 * What the data take off the prior variance: Σ_i P_ji² v_i for each row.
 * @param {ArrayLike<number>} basis
 * @param {number} m
 * @param {(i: number) => number} v
 */
export function taken(basis, m, v) {
  const r = m ? basis.length / m : 0;
  const share = Float64Array.from({ length: r }, (_, i) => v(i));
  const out = new Float64Array(m);
  for (let j = 0, k = 0; j < m; j++) {
    let sum = 0;
    for (let i = 0; i < r; i++, k++) sum += basis[k] * basis[k] * share[i];
    out[j] = sum;
  }
  return out;
}

/** @typedef {{ rows: number, weight: number, spread: number, outside: number, missing: number }} Terms */

/**
 * Log density of each step's targets under its own prior, in nats; summed over p outputs.
 * @param {"data" | "distribution"} approach
 * @param {ArrayLike<number>} d
 * @param {ArrayLike<number>} c coefficients (r, p)
 * @param {Filters} filter of all r directions
 * @param {number[]} noise
 * @param {number[]} mixing
 * @param {Terms} terms
 */
export function evidence(approach, d, c, filter, noise, mixing, terms) {
  const r = d.length;
  const outputs = c.length / r;
  const total = approach === "data" ? noise : harmonicNoise(noise);
  const tau = 2 * Math.PI;
  let logs = 0;
  const values = noise.map((gamma, t) => {
    const g = total[t];
    let loss = 0;
    for (let i = 0; i < r; i++) {
      let power = 0;
      for (let p = 0; p < outputs; p++) power += c[i * outputs + p] ** 2;
      loss += filter.weights[t][i] ** 2 * (d[i] + g) * power + outputs * Math.log(d[i] + g);
    }
    if (terms.rows > r) loss += outputs * (terms.rows - r) * Math.log(g);
    const seen = approach === "data" && t ? mixing[t] ** 2 : 1;
    if (terms.outside > 0) loss += (seen * terms.outside) / g;
    if (terms.spread > 0) loss += (seen * terms.spread) / g;
    if (terms.missing > 0) loss += (outputs * terms.missing) / g;
    loss += terms.rows * outputs * Math.log(tau);
    if (approach === "data") {
      if (terms.weight !== terms.rows) loss += (terms.weight - terms.rows) * outputs * Math.log(tau * gamma);
      return -0.5 * loss;
    }
    logs += Math.log(tau * gamma);
    return 0.5 * (terms.rows * outputs * Math.log(tau * g) - terms.weight * outputs * logs - loss);
  });
  return approach === "data" ? values : values.map((value, t) => value - (t ? values[t - 1] : 0));
}
