// What a regression's posterior is at a moment: means, bands, targets, errors, all from the stored eigensystem.

import { at, tensor } from "../parts/arrays.js";
import { evidence, filters, products, taken } from "./inspector/filters.js";

/** One approach under the sliders; index T of a list is the limit.
 * @typedef {object} Seen
 * @property {import("./content.js").Approach} approach
 * @property {number} steps
 * @property {Float64Array[]} means along the grid
 * @property {(index: number) => Float64Array} std
 * @property {Float64Array[] | null} fitted at the merged training rows
 * @property {(index: number) => Float64Array} targets of each given row
 * @property {number[] | null} trainError
 * @property {number[] | null} testError
 * @property {number[]} evidence
 * @property {import("./inspector/filters.js").Filters | null} filter of the kept directions
 * @property {() => { bias: number[], variance: number[], plugIn: boolean } | null} resampled
 * @property {(index: number) => Float64Array[]} samples
 */

/** @param {import("../parts/dom.js").Model} model */
export function createData(model) {
  const content = () => /** @type {import("./content.js").Content} */ (model.get("content"));
  /** @type {Map<string, any>} */
  let memory = new Map();
  /** @type {any[]} */
  let stamp = [];

  /**
   * Compute once per state of the sliders.
   * @template V
   * @param {string} key
   * @param {() => V} compute
   * @returns {V}
   */
  function once(key, compute) {
    const now = [
      model.get("content"),
      model.get("arrays"),
      model.get("steps"),
      model.get("noise"),
      model.get("mixing"),
      model.get("output"),
    ];
    if (now.some((value, i) => value !== stamp[i])) {
      stamp = now;
      memory = new Map();
    }
    if (!memory.has(key)) memory.set(key, compute());
    return memory.get(key);
  }

  const numbers = (/** @type {string} */ name) =>
    /** @type {import("../parts/arrays.js").Tensor} */ (tensor(model, name));
  const output = () => Math.max(0, content().outputs.indexOf(model.get("output")));
  const steps = () => /** @type {number} */ (model.get("steps"));

  /** Values of one output out of (rows, outputs). @param {string} name */
  const column = (name) =>
    once(`column ${name}`, () => {
      const { data, shape } = numbers(name);
      const p = shape[1] ?? 1;
      return Float64Array.from({ length: shape[0] }, (_, i) => data[i * p + (p > 1 ? output() : 0)]);
    });

  /**
   * @param {"noise" | "mixing"} name
   * @returns {number[]}
   */
  function schedule(name) {
    const value = model.get(name);
    const given = content().given[name];
    return Array.from({ length: steps() }, (_, t) => value ?? given[Math.min(t, given.length - 1)]);
  }

  /** Index of the selected step; the number of steps stands for the limit. */
  const position = () => {
    const { step } = model.get("selection");
    return step === "limit" ? steps() : Math.min(steps(), step) - 1;
  };

  const train = () =>
    once("train", () => ({
      x: Float64Array.from(numbers(content().train.x).data),
      y: column(content().train.y),
      groups: numbers(content().train.groups).data,
    }));

  /**
   * @param {Float64Array} found
   * @param {ArrayLike<number>} wanted
   * @param {ArrayLike<number>} [index]
   */
  function rmse(found, wanted, index) {
    let sum = 0;
    for (let i = 0; i < wanted.length; i++) sum += (found[index ? index[i] : i] - wanted[i]) ** 2;
    return Math.sqrt(sum / wanted.length);
  }

  /**
   * @param {import("./content.js").Approach} approach
   * @returns {Seen}
   */
  const seen = (approach) => once(`seen ${approach}`, () => (content().eigen ? filtered(approach) : stored(approach)));

  /** @param {import("./content.js").Approach} approach @returns {Seen} */
  function filtered(approach) {
    const { eigen, offset, scale } = content();
    if (!eigen) throw new Error("this path has no eigensystem");
    const [noise, mixing] = [schedule("noise"), schedule("mixing")];
    const d = numbers(eigen.values).data;
    const c = column(eigen.coefficients);
    const few = d.subarray(0, eigen.kept);
    const filter = filters(approach, few, noise, mixing);
    const [shift, stretch] = [offset[output()], scale[output()]];
    const count = steps();
    const along = numbers(eigen.projections);
    const loads = filter.weights.map((w) => w.map((value, i) => value * c[i]));
    const units = (/** @type {Float64Array[]} */ lists) => {
      for (const list of lists) for (let i = 0; i < list.length; i++) list[i] = list[i] * stretch + shift;
      return lists;
    };
    const means = units(products(along.data, along.shape[0], loads));
    const directions = eigen.directions ? numbers(eigen.directions) : null;
    const fitted = directions
      ? units(
          products(
            directions.data,
            directions.shape[0],
            loads.map((load) => load.map((value, i) => value * few[i])),
          ),
        )
      : null;
    const { y, groups } = train();
    const behind = eigen.tests ? numbers(eigen.tests) : null;
    const test = content().test;
    const predictions = behind && test ? units(products(behind.data, behind.shape[0], loads)) : null;
    const prior = numbers(eigen.prior).data;
    /** @type {Map<number, Float64Array>} */
    const deviations = new Map();
    return {
      approach,
      steps: count,
      means,
      filter,
      fitted,
      std(index) {
        const gamma = filter.noise[index];
        let found = deviations.get(gamma);
        if (!found) {
          const floor = few[0] * d.length * Number.EPSILON;
          const off = taken(along.data, along.shape[0], (i) =>
            gamma === 0 && few[i] <= floor ? 0 : 1 / (few[i] + gamma),
          );
          found = off.map((value, j) => Math.sqrt(Math.max(0, prior[j] - value)) * stretch);
          deviations.set(gamma, found);
        }
        return found;
      },
      targets(index) {
        if (approach === "distribution" || index === 0 || !fitted) return y;
        const alpha = mixing[Math.min(index, count - 1)];
        const before = index === count ? fitted[count] : fitted[index - 1];
        return y.map((value, i) => alpha * value + (1 - alpha) * before[groups[i]]);
      },
      trainError: fitted && fitted.map((values) => rmse(values, y, groups)),
      testError: predictions && test && predictions.map((values) => rmse(values, column(test.y))),
      evidence: once(`evidence ${approach}`, () => {
        const all = numbers(eigen.coefficients).data;
        return evidence(
          approach,
          d,
          all,
          eigen.kept === d.length ? filter : filters(approach, d, noise, mixing),
          noise,
          mixing,
          eigen.terms,
        );
      }),
      resampled: () => once(`resampled ${approach}`, () => resampled(filter)),
      samples: (index) => draws(filter.noise[index], means[index]),
    };
  }

  /**
   * Bias² and variance of the mean over fresh noise, averaged over the test rows: exact, since the mean is linear in y.
   * Without a known truth the ordinary process as fitted stands in for it, with its own noise.
   * @param {import("./inspector/filters.js").Filters} filter
   */
  function resampled(filter) {
    const { eigen, truth, given, offset, scale } = content();
    if (!eigen) return null;
    const k = output();
    const d = numbers(eigen.values).data.subarray(0, eigen.kept);
    const basis = numbers(eigen.tests ?? eigen.projections);
    const m = basis.shape[0];
    const known = truth !== null && truth.tests !== null;
    const c = column(eigen.coefficients);
    const plug = Float64Array.from(d, (value, i) => (value / (value + given.noise[0])) * c[i]);
    const signal = known ? column(truth.coefficients) : plug;
    const wanted = known
      ? column(/** @type {string} */ (truth.tests))
      : products(basis.data, m, [plug.map((value, i) => value / d[i])])[0].map((value) => value * scale[k] + offset[k]);
    const power = known ? truth.noise[k] : given.noise[0] * scale[k] ** 2;
    const bias = products(
      basis.data,
      m,
      filter.weights.map((w) => w.map((value, i) => value * signal[i])),
    ).map((values) => values.reduce((sum, value, j) => sum + (value * scale[k] + offset[k] - wanted[j]) ** 2, 0) / m);
    const variance = filter.weights.map(
      (w) => (power * taken(basis.data, m, (i) => w[i] ** 2).reduce((sum, value) => sum + value, 0)) / m,
    );
    return { bias, variance, plugIn: !known };
  }

  /**
   * Functions from the posterior, by Matheron's rule: prior draws, moved by what the data say to them.
   * @param {number} gamma
   * @param {Float64Array} mean
   */
  function draws(gamma, mean) {
    const { samples, eigen, scale } = content();
    if (!samples || !eigen) return [];
    const d = numbers(eigen.values).data;
    const along = numbers(eigen.projections);
    const [prior, values, noise] = [numbers(samples.grid), numbers(samples.values), numbers(samples.noise)];
    return Array.from({ length: prior.shape[0] }, (_, s) => {
      const [f, u, e] = [at(prior, s).data, at(values, s).data, at(noise, s).data];
      const load = Float64Array.from(
        { length: eigen.kept },
        (_unused, i) => (u[i] + Math.sqrt(gamma) * e[i]) / (d[i] + gamma),
      );
      const seenByData = products(along.data, along.shape[0], [load])[0];
      return mean.map((value, j) => value + (f[j] - seenByData[j]) * scale[output()]);
    });
  }

  /** @param {import("./content.js").Approach} approach @returns {Seen} */
  function stored(approach) {
    const still = content().static;
    if (!still) throw new Error("this path holds neither an eigensystem nor its steps");
    const k = output();
    const list = (/** @type {string} */ name) => {
      const { data, shape } = numbers(name);
      const [T, m, p] = shape;
      return Array.from({ length: T }, (_, t) =>
        Float64Array.from({ length: m }, (_unused, j) => data[(t * m + j) * p + k]),
      );
    };
    const variances = list(still.variance);
    const fitted = still.fitted ? list(still.fitted) : null;
    const goals = still.targets ? list(still.targets) : null;
    const { y, groups } = train();
    const test = content().test;
    const predictions = still.tests && test ? list(still.tests) : null;
    return {
      approach,
      steps: steps(),
      means: list(still.mean),
      filter: null,
      fitted,
      std: (index) => variances[index].map((value) => Math.sqrt(Math.max(0, value))),
      targets: (index) => (goals ? y.map((_, i) => goals[index][groups[i]]) : y),
      trainError: fitted && fitted.map((values) => rmse(values, y, groups)),
      testError: predictions && test && predictions.map((values) => rmse(values, column(test.y))),
      evidence: still.evidence,
      resampled: () => null,
      samples: () => [],
    };
  }

  /** @returns {import("./content.js").Approach[]} */
  const approaches = () => (model.get("approach") === "both" ? ["data", "distribution"] : [model.get("approach")]);

  return { content, once, seen, schedule, position, steps, train, column, numbers, approaches, output };
}

/** @typedef {ReturnType<typeof createData>} Data */
