// Elements made of attributes and text nodes: names that come from data can never become HTML.

/** What an explorer needs of Jupyter: anything with these six verbs will do.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, handler: (...values: any[]) => void) => void} on
 * @property {(event: string, handler: (...values: any[]) => void) => void} off
 * @property {(content: any, callbacks?: any, buffers?: ArrayBuffer[]) => void} send
 */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element. `attributes` are set as attributes, except `class` (string) and functions (`onclick` …: listeners).
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.replace(/^on/, ""), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  fill(node, ...children);
  return node;
}

/**
 * Replace what a node holds. Text that is too long to be read there is cut, and stands whole in the node's tooltip.
 * @param {Element} node
 * @param {...Child} children
 */
export function fill(node, ...children) {
  const texts = children.filter((child) => child !== null && child !== undefined && child !== false);
  node.replaceChildren(...texts.map((child) => (child instanceof Node ? child : readable(node, String(child)))));
}

/**
 * Set text only when it differs: live regions stay quiet and the page is not laid out again.
 * @param {Element} node
 * @param {string} text
 */
export function write(node, text) {
  if (node.hasAttribute("data-cut")) {
    node.removeAttribute("data-cut");
    node.removeAttribute("title");
  }
  const shown = readable(node, text);
  if (node.textContent !== shown) node.textContent = shown;
}

/** Letters of a name that are shown; what is longer is cut in its middle and stands whole in a tooltip. */
export const LONGEST = 120;

/** Elements whose text is read or copied as a whole, and those that hold sentences rather than a name. */
const [WHOLE, SENTENCES] = [new Set(["PRE", "CODE", "TEXTAREA", "STYLE", "SCRIPT"]), new Set(["P", "DIV", "LI"])];

/**
 * The text as it is shown in a node. A name of ten thousand letters (names come from strangers' files) would push all
 * else out of sight, and laying it out again at each change would stall the page.
 * @param {Element} node
 * @param {string} text
 */
function readable(node, text) {
  const most = SENTENCES.has(node.tagName) ? 8 * LONGEST : 3 * LONGEST;
  if (text.length <= most || WHOLE.has(node.tagName)) return text;
  if (!node.hasAttribute("title")) {
    node.setAttribute("title", text);
    node.setAttribute("data-cut", "");
  }
  return cut(text, most);
}

/**
 * A canvas as sharp as the screen. Returns a context scaled to CSS pixels and cleared.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width CSS pixels
 * @param {number} height CSS pixels
 */
export function sharp(canvas, width, height) {
  const ratio = Math.min(3, globalThis.devicePixelRatio || 1);
  const w = Math.max(1, Math.round(width * ratio));
  const h = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * A number as a reader expects it: fixed digits, a real minus sign, "–" for none.
 * @param {number | null | undefined} value
 * @param {number} [digits]
 */
export function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/**
 * A name as it is shown: at most `most` letters, both ends of it, since both ends say which one it is.
 * @param {string} text
 * @param {number} [most]
 */
export function cut(text, most = LONGEST) {
  if (text.length <= most) return text;
  const head = Math.floor((most - 1) * 0.45);
  return `${text.slice(0, head)}…${text.slice(text.length - (most - 1 - head))}`;
}

/**
 * Names as places on an axis: long ones cut, all of them still different.
 * @param {string[]} names
 */
export function cutAll(names) {
  const short = names.map((name) => cut(name));
  return short.map((name, k) => (name !== names[k] && short.indexOf(name) !== k ? `${name} ${k + 1}` : name));
}

/**
 * `text`, shortened in its middle until `width` pixels hold it: both ends of a layer name say which it is.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 */
export function elide(context, text, width) {
  const whole = cut(text);
  if (context.measureText(whole).width <= width) return whole;
  // Halved, not counted down: measuring is slow, and there are many names.
  let [fits, not] = [2, whole.length];
  while (not - fits > 1) {
    const keep = Math.floor((fits + not) / 2);
    if (context.measureText(cut(whole, keep + 1)).width <= width) fits = keep;
    else not = keep;
  }
  return fits > 2 ? cut(whole, fits + 1) : "…";
}
