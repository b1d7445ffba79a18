// A model without a kernel: what a page made by to_html puts in Jupyter's place.

/**
 * @param {Record<string, any>} state the traits; `arrays` and whatever ends in `_arrays` hold base64
 * @returns {import("./dom.js").Model}
 */
export function standaloneModel(state) {
  /** @type {Map<string, Set<(...values: any[]) => void>>} */
  const handlers = new Map();
  for (const trait of Object.keys(state).filter((name) => /(^|_)arrays$/.test(name))) {
    for (const packed of Object.values(state[trait])) {
      packed.data = new DataView(Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0)).buffer);
    }
  }
  return {
    get: (name) => state[name],
    set(name, value) {
      if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
      state[name] = value;
      for (const handler of [...(handlers.get(`change:${name}`) ?? [])]) handler();
    },
    save_changes() {},
    on(event, handler) {
      if (!handlers.has(event)) handlers.set(event, new Set());
      handlers.get(event)?.add(handler);
    },
    off: (event, handler) => void handlers.get(event)?.delete(handler),
    send() {}, // nobody listens
  };
}
