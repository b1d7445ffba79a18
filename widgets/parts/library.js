// Libraries from Python's packages, loaded once per page however many widgets want them.

const WAIT = 20_000; // ms until a view makes do without

const page = /** @type {any} */ (globalThis);
/** @type {Map<string, Promise<any>>} */
const loading = (page[Symbol.for("distillation-workbench libraries")] ??= new Map());

/**
 * The library `name`; null where nobody can send it (no kernel).
 * @param {import("./frame.js").Frame} frame
 * @param {string} name
 * @returns {Promise<any>}
 */
export function library(frame, name) {
  const page = /** @type {any} */ (globalThis);
  if (page[name]) return Promise.resolve(page[name]);
  if (frame.standalone) return Promise.resolve(null);
  let promise = loading.get(name);
  if (!promise) {
    promise = request(frame, name).catch(() => {
      loading.delete(name); // a kernel that starts later may send it to a later view
      return null;
    });
    loading.set(name, promise);
  }
  return promise;
}

/**
 * @param {import("./frame.js").Frame} frame
 * @param {string} name
 */
function request({ model, onDispose }, name) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(() => reject(new Error(`no answer about ${name}`))), WAIT);
    /**
     * @param {any} message
     * @param {DataView[]} buffers
     */
    const receive = (message, buffers) => {
      if (message?.type !== "library" || message.name !== name) return;
      const script = document.createElement("script");
      script.src = URL.createObjectURL(new Blob([/** @type {any} */ (buffers[0])], { type: "text/javascript" }));
      script.onload = () => finish(() => resolve(/** @type {any} */ (globalThis)[name] ?? null));
      script.onerror = () => finish(() => reject(new Error(`${name} did not run`)));
      document.head.append(script);
    };
    /** @param {() => void} settle */
    const finish = (settle) => {
      clearTimeout(timer);
      model.off("msg:custom", receive);
      settle();
    };
    onDispose(() => finish(() => reject(new Error("the view went away"))));
    model.on("msg:custom", receive);
    model.send({ type: "library", name });
  });
}
