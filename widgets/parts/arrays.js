// Arrays as they travel: raw bytes with a dtype and a shape, decoded once per model and sliced without copying.

import { number } from "./dom.js";

/** @typedef {Float32Array | Float64Array | Int8Array | Uint8Array | Int32Array} Numbers */

/** @typedef {{ data: Numbers, shape: number[] }} Tensor */

const TYPES = { float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int32: Int32Array };

/** @type {WeakMap<object, Map<string, Tensor>>} */
const decoded = new WeakMap();

/**
 * The array called `name` in the model's `arrays`; null when `name` is null. All views of a model share one copy.
 * @param {import("./dom.js").Model} model
 * @param {string | null | undefined} name
 * @param {string} [trait] where what is computed later has a trait of its own, so that the first arrays travel once
 * @returns {Tensor | null}
 */
export function tensor(model, name, trait = "arrays") {
  if (!name) return null;
  const packed = model.get(trait);
  let known = decoded.get(packed);
  if (!known) decoded.set(packed, (known = new Map()));
  let found = known.get(name);
  if (!found) {
    const { dtype, shape, data } = packed[name];
    const Type = TYPES[/** @type {keyof typeof TYPES} */ (dtype)];
    if (!Type) throw new Error(`array ${name} has an unknown dtype ${dtype}`);
    const bytes =
      data instanceof ArrayBuffer
        ? new Uint8Array(data)
        : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const size = Type.BYTES_PER_ELEMENT;
    const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
    found = { data: new Type(aligned.buffer, aligned.byteOffset, aligned.byteLength / size), shape };
    const expected = shape.reduce((/** @type {number} */ product, /** @type {number} */ length) => product * length, 1);
    if (found.data.length !== expected)
      throw new Error(`array ${name} holds ${number(found.data.length, 0)} values; its shape asks for ${expected}`);
    known.set(name, found);
  }
  return found;
}

/**
 * The sub-array at leading indices, without copying: `at(t, 3, 1)` is `t[3, 1]`.
 * @param {Tensor} source
 * @param {...number} indices
 * @returns {Tensor}
 */
export function at(source, ...indices) {
  const shape = source.shape.slice(indices.length);
  const size = shape.reduce((product, length) => product * length, 1);
  let offset = 0;
  indices.forEach((index, axis) => {
    if (!(index >= 0 && index < source.shape[axis]))
      throw new RangeError(`index ${index} is outside axis ${axis} of shape ${source.shape.join(" × ")}`);
  });
  indices.forEach((index, axis) => (offset = offset * source.shape[axis] + index));
  return { data: source.data.subarray(offset * size, (offset + 1) * size), shape };
}

/**
 * Mean of the values that are numbers; NaN when there are none.
 * @param {ArrayLike<number>} values
 */
export function mean(values) {
  let sum = 0;
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isNaN(values[i])) {
      sum += values[i];
      count++;
    }
  }
  return count ? sum / count : NaN;
}

/**
 * Smallest and largest of the values that are numbers; [NaN, NaN] when there are none.
 * @param {ArrayLike<number>} values
 * @returns {[number, number]}
 */
export function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  return low <= high ? [low, high] : [NaN, NaN];
}
