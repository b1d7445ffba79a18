// Asking Python for a refit while a hand moves: one request under way, the newest wish waiting, older ones forgotten.

/**
 * @param {import("../../parts/frame.js").Frame} frame
 */
export function createRefits(frame) {
  const { model } = frame;
  /** @type {Record<string, any>} what the hand has asked for and Python has not yet answered */
  let wished = {};
  /** @type {Record<string, any> | null} */
  let waiting = null;
  let asked = 0;

  function send(/** @type {Record<string, any>} */ changes) {
    asked++;
    const mine = asked;
    frame.requests.ask(
      "refit",
      changes,
      () => {
        if (mine !== asked) return;
        asked = 0;
        if (waiting) {
          const next = waiting;
          waiting = null;
          send(next);
        } else wished = {};
        frame.invalidate();
      },
      {
        patient: true,
        // The view goes back to what Python holds.
        failed: () => {
          asked = 0;
          waiting = null;
          wished = {};
          frame.invalidate();
        },
      },
    );
  }

  return {
    /** A setting as the hand has put it; as Python has it, otherwise. @param {string} name */
    current: (name) => (name in wished ? wished[name] : model.get(name)),
    /** @param {Record<string, any>} changes */
    ask(changes) {
      if (frame.standalone) return;
      wished = { ...wished, ...changes };
      if (asked) waiting = { ...waiting, ...changes };
      else send(changes);
      frame.invalidate();
    },
    busy: () => asked > 0,
  };
}
