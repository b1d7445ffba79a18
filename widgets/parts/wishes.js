// Asking Python while a hand moves: the newest wish wins. What the hand asks for is shown at once, older wishes that
// have not been sent are forgotten, and what Python refuses goes back to what it holds.

/** How wishes are sent.
 * @typedef {object} Pace
 * @property {boolean} [overtakes] a new wish stops what is under way; otherwise it waits for that to end
 * @property {number} [pause] ms between two requests of a hand that keeps moving
 */

/** What a hand has asked for and Python has not answered yet, by trait.
 * @typedef {Record<string, any>} Wish */

/**
 * @param {import("./frame.js").Frame} frame
 * @param {string} action what Python is asked for; the wish is its details
 * @param {Pace} [pace]
 */
export function createWishes(frame, action, { overtakes = false, pause = 0 } = {}) {
  const { model } = frame;
  /** @type {Wish | null} */
  let sent = null;
  /** @type {Wish | null} */
  let waiting = null;
  let number = 0;
  let last = -Infinity;
  let timer = 0;

  function schedule() {
    if (timer || !waiting || (sent && !overtakes)) return;
    const left = last + pause - performance.now();
    if (left > 0) timer = /** @type {any} */ (setTimeout(send, left));
    else send();
  }

  function send() {
    timer = 0;
    sent = overtakes ? { ...sent, ...waiting } : waiting;
    waiting = null;
    last = performance.now();
    const mine = ++number;
    /** @param {boolean} stopped the reader wants none of it */
    const over = (stopped = false) => {
      if (mine !== number) return; // overtaken by a newer wish
      sent = null;
      if (stopped) forget();
      schedule();
      frame.invalidate();
    };
    frame.requests.ask(action, /** @type {Wish} */ (sent), () => over(), { patient: true, failed: over });
  }

  function forget() {
    clearTimeout(timer);
    timer = 0;
    waiting = null;
  }
  frame.onDispose(forget);

  return {
    /** A trait as the hand has put it; as Python has it, otherwise. @param {string} name */
    current(name) {
      const wish = [waiting, sent].find((one) => one && name in one);
      return wish ? wish[name] : model.get(name);
    },
    /** @param {Wish} changes */
    ask(changes) {
      if (frame.standalone) return;
      waiting = { ...waiting, ...changes };
      schedule();
      frame.invalidate();
    },
    /** Something is asked for that is not shown yet. */
    busy: () => sent !== null || waiting !== null,
  };
}
