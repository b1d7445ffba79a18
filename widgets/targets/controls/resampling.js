// Asking Python to sample again while a hand moves: the newest wish goes out, what was under way is stopped.

/** How a run is to be made, where that differs from how it was given.
 * @typedef {{ sampler?: string, steps?: number, guidance?: number }} Wish */

const PACE = 120; // ms between two requests of a hand that keeps moving

/** @param {import("../../parts/frame.js").Frame} frame */
export function createResampling(frame) {
  const { model } = frame;
  /**
   * @type {{ sampling: Record<string, Wish>, adapter_scale: number } | null} what the hand has asked for and Python
   *   has not answered
   */
  let wished = null;
  let asked = 0;
  let sent = -Infinity;
  let timer = 0;

  const now = () =>
    wished ?? {
      sampling: /** @type {Record<string, Wish>} */ (model.get("sampling")),
      adapter_scale: /** @type {number} */ (model.get("adapter_scale")),
    };

  function send() {
    timer = 0;
    if (!wished) return;
    sent = performance.now();
    const mine = ++asked;
    const over = () => {
      // An answer to what is no longer wished for was overtaken: `requests` has dropped it already, a timer may wait.
      if (mine !== asked || timer) return;
      wished = null;
      frame.invalidate();
    };
    frame.requests.ask("samples", wished, over, { patient: true, failed: over });
  }

  /** @param {Partial<{ sampling: Record<string, Wish>, adapter_scale: number }>} changes */
  function wish(changes) {
    if (frame.standalone) return;
    wished = { ...now(), ...changes };
    if (!timer) timer = /** @type {any} */ (setTimeout(send, Math.max(0, sent + PACE - performance.now())));
    frame.invalidate();
  }
  frame.onDispose(() => clearTimeout(timer));

  return {
    /** Something is asked for that is not shown yet. */
    busy: () => wished !== null,
    /** How a run is wished to be made. @param {string} run @returns {Wish} */
    of: (run) => now().sampling[run] ?? {},
    scale: () => now().adapter_scale,
    /** @param {string} run @param {Wish} changes */
    change(run, changes) {
      const all = now().sampling;
      wish({ sampling: { ...all, [run]: { ...all[run], ...changes } } });
    },
    /** Put one setting of a run back to how it was given. @param {string} run @param {keyof Wish} name */
    undo(run, name) {
      const { [name]: _, ...rest } = now().sampling[run] ?? {};
      wish({ sampling: { ...now().sampling, [run]: rest } });
    },
    /** @param {number} value */
    strengthen: (value) => wish({ adapter_scale: value }),
    /** Everything as it was given. */
    reset: () => wish({ sampling: {}, adapter_scale: 0 }),
    changed: () =>
      now().adapter_scale !== 0 || Object.values(now().sampling).some((one) => Object.keys(one).length > 0),
  };
}
