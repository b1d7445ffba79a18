// The current view written as the Python call that makes it, without asking Python.

/**
 * A plain value as Python writes it.
 * @param {any} value
 * @returns {string}
 */
export function pythonLiteral(value) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return pythonString(value);
  if (Array.isArray(value)) return `[${value.map(pythonLiteral).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value)
      .map(([key, item]) => `${pythonString(key)}: ${pythonLiteral(item)}`)
      .join(", ")}}`;
  }
  return String(value);
}

/** @param {string} text */
function pythonString(text) {
  // repr() prefers single quotes, and changes to double ones for a text that holds only single ones.
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let body = "";
  for (const character of text) {
    if (character === "\\" || character === quote) body += `\\${character}`;
    else if (character === "\n") body += "\\n";
    else if (character === "\t") body += "\\t";
    else if (character === "\r") body += "\\r";
    else if (character < " ") body += `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
    else body += character;
  }
  return `${quote}${body}${quote}`;
}

/**
 * `widgets.XExplorer(record, …)` with every setting that differs from its default.
 * @param {import("./dom.js").Model} model
 */
export function pythonCall(model) {
  const { call, defaults } = model.get("recipe");
  const settings = [];
  for (const [name, normal] of Object.entries(defaults)) {
    let value = model.get(name);
    let usual = normal;
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      // Of a selection only what differs: the rest starts out like that.
      value = Object.fromEntries(Object.entries(value).filter(([key, item]) => !alike(item, normal[key])));
      usual = {};
    }
    if (!alike(value, usual)) settings.push(`${name}=${pythonLiteral(value)}`);
  }
  return `${call}(${[model.get("source"), ...settings].join(", ")})`;
}

/**
 * Whether two plain values are the same, in whatever order their keys stand: a saved notebook sorts them.
 * @param {any} a
 * @param {any} b
 * @returns {boolean}
 */
export function alike(a, b) {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b && alike(a[key], b[key]));
}
