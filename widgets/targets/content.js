// What Python sends to a TargetTrajectoryExplorer; content.py makes it.

/** One run; mirrors `_run` in content.py. Index k of an array along its steps is step k + 1; the last is the sample.
 * @typedef {object} Run
 * @property {string} name
 * @property {"teacher" | "student" | "other"} role
 * @property {number} other counts the runs whose role is "other", for their colour
 * @property {number} steps recorded ones, K
 * @property {number[]} times of the steps, falling, (K)
 * @property {number[]} levels log(α / σ) at those times, rising, (K): runs on different schedules meet at equal ones
 * @property {[number, number, number, number][]} scales α, σ and their rates at those times, (K)
 * @property {number} start what a seed's noise is multiplied with to be its first state as it is drawn
 * @property {string} states_at float32 (K + 1, n, 2): x_t in the plane
 * @property {string} targets_at float32 (K + 1, n, 2): x̂₀ in the plane
 * @property {string} apart float32 (K + 1, n): distance of x̂₀ to the sample
 * @property {string | null} states uint8 (K + 1, m, channels, height, width): pictures of the first m seeds; of x_t
 *   over √(α² + σ²)
 * @property {string | null} targets uint8, the same of x̂₀
 * @property {string} sampler
 * @property {number} guidance
 * @property {number} calls model evaluations per seed
 * @property {string} schedule
 * @property {boolean} live Python has its model
 */

/** What is drawn; mirrors `content_of` in content.py.
 * @typedef {object} Content
 * @property {Run[]} runs
 * @property {"points" | "images"} kind
 * @property {number[]} shape of one example
 * @property {number} count n, seeds
 * @property {number} pictured m, seeds with pictures
 * @property {string[]} classes
 * @property {string | null} condition int32 (n), −1: none; null: no classes
 * @property {{ axes: [string, string], exact: boolean, span: [number, number, number, number], close: [number,
 *   number, number, number] }} plane exact: its axes are the data's own; close: the part that holds the samples
 * @property {{ density: { run: string, index: number[], values: string, close: string } | null, fields:
 *   Record<string, { index: number[], targets: string }> }} ground
 *     density: uint8 (steps, y, x) at some indices of a run, square roots over the largest, the clean data last;
 *     close: that alone, of
 *     plane.close; fields: x̂₀ that a
 *     run's model believes at the middles of a lattice, float32 (steps, places, 2), at some indices of that run
 * @property {boolean} same all runs began from the same noise
 * @property {number} revision counts what Python computed again
 */

export {};
