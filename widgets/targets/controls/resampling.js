// What the hand wants sampled again: how each run is to be made, and how strong an adapter is to be.

import { createWishes } from "../../parts/wishes.js";

/** How a run is to be made, where that differs from how it was given.
 * @typedef {{ sampler?: string, steps?: number, guidance?: number }} Wish */

/** @param {import("../../parts/frame.js").Frame} frame */
export function createResampling(frame) {
  const wishes = createWishes(frame, "samples", { overtakes: true, pause: 120 });
  /** @returns {Record<string, Wish>} */
  const sampling = () => wishes.current("sampling");
  /** @returns {number} */
  const scale = () => wishes.current("adapter_scale");

  return {
    busy: wishes.busy,
    scale,
    /** How a run is wished to be made. @param {string} run @returns {Wish} */
    of: (run) => sampling()[run] ?? {},
    /** @param {string} run @param {Wish} changes */
    change(run, changes) {
      const all = sampling();
      wishes.ask({ sampling: { ...all, [run]: { ...all[run], ...changes } } });
    },
    /** Put one setting of a run back to how it was given. @param {string} run @param {keyof Wish} name */
    undo(run, name) {
      const { [name]: _, ...rest } = sampling()[run] ?? {};
      wishes.ask({ sampling: { ...sampling(), [run]: rest } });
    },
    /** @param {number} value */
    strengthen: (value) => wishes.ask({ adapter_scale: value }),
    /** Everything as it was given. */
    reset: () => wishes.ask({ sampling: {}, adapter_scale: 0 }),
    changed: () => scale() !== 0 || Object.values(sampling()).some((one) => Object.keys(one).length > 0),
  };
}
