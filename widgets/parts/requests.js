// Asking Python to compute: each request has an id, shows its progress, can be stopped, and only the last one counts.

/** A request under way. @typedef {object} Waiting
 * @property {string} name
 * @property {(result: any) => void} done
 * @property {(stopped: boolean) => void} failed
 * @property {number} timer until its silence is told
 * @property {number} since when it may be shown
 * @property {boolean} heard Python has said something about it
 */

/** How a request behaves.
 * @typedef {object} Manner
 * @property {(stopped: boolean) => void} [failed] it was refused, or stopped; the reader has been told
 * @property {boolean} [patient] quick ones pass without a word: "computing" shows after a moment only
 * @property {boolean} [silent] the view does without the answer where none comes: nothing is said of it
 */

const PATIENCE = 350; // ms
const SILENCE = 5000; // ms without a word until the reader is told so; an answer that comes later is still shown

/** What asks Python to compute.
 * @typedef {{ ask: (name: string, details?: Record<string, any>, done?: (result: any) => void, manner?: Manner) =>
 *   void }} Requests */

/**
 * @param {import("./frame.js").Frame} frame
 * @returns {Requests}
 */
export function createRequests(frame) {
  const { model } = frame;
  const view = Math.random().toString(36).slice(2, 8); // messages reach every view of a model; each looks for its own
  let count = 0;
  /** @type {Map<string, Waiting>} */
  const waiting = new Map();

  /** @param {string} id */
  function finish(id) {
    clearTimeout(waiting.get(id)?.timer);
    waiting.delete(id);
    frame.status.computing(null);
  }

  /** @param {any} message */
  function receive(message) {
    const request = waiting.get(message?.id);
    if (!request) return; // another view's, or overtaken by a later request
    clearTimeout(request.timer);
    request.heard = true;
    if (message.type === "progress") {
      if (performance.now() > request.since)
        frame.status.computing({
          name: request.name,
          fraction: message.fraction,
          text: message.text,
          stop: () => stopRequest(message.id),
        });
    } else if (message.type === "result") {
      finish(message.id);
      frame.guard(() => request.done(message.result));
    } else if (message.type === "stopped") {
      abandon(message.id, request);
    } else if (message.type === "failed") {
      finish(message.id);
      frame.status.fail(message.traceback);
      frame.guard(() => request.failed(false));
    }
  }
  model.on("msg:custom", receive);
  frame.onDispose(() => {
    model.off("msg:custom", receive);
    for (const id of [...waiting.keys()]) stopRequest(id);
  });

  /** @param {string} id @param {Waiting} request */
  function abandon(id, request) {
    finish(id);
    frame.guard(() => request.failed(true));
    frame.say(`${request.name} stopped`);
  }

  /** @param {string} id */
  function stopRequest(id) {
    model.send({ type: "stop", id });
    const request = waiting.get(id);
    // Who has said nothing may be no one: nothing more is waited for.
    if (request && !request.heard) abandon(id, request);
    else if (request) frame.status.computing({ name: request.name, fraction: null, text: "stopping", stop: null });
  }

  return {
    /**
     * @param {string} name what Python is asked for
     * @param {Record<string, any>} [details]
     * @param {(result: any) => void} [done]
     * @param {Manner} [manner]
     */
    ask(name, details = {}, done = () => {}, { failed = () => {}, patient = false, silent = false } = {}) {
      for (const [id, request] of waiting) {
        if (request.name === name) {
          model.send({ type: "stop", id });
          finish(id);
        }
      }
      const id = `${view}-${++count}`;
      const timer = setTimeout(() => {
        if (silent) return;
        frame.status.computing({
          name,
          fraction: null,
          text: "no answer from the kernel yet: it is busy, or there is none; what needs no computing still works",
          stop: () => stopRequest(id),
        });
      }, SILENCE);
      waiting.set(id, {
        name,
        done,
        failed,
        timer: /** @type {any} */ (timer),
        since: patient ? performance.now() + PATIENCE : 0,
        heard: false,
      });
      const show = () =>
        waiting.has(id) && frame.status.computing({ name, fraction: null, text: "asked", stop: () => stopRequest(id) });
      if (patient) setTimeout(show, PATIENCE);
      else if (!silent) show();
      model.send({ type: "request", id, name, details });
    },
  };
}
