// Formulas as MathML, made of elements: the browser sets them, a screen reader reads them, and terms can be lit.

const SPACE = "http://www.w3.org/1998/Math/MathML";

/** @typedef {Element | string} Part */

/**
 * @param {string} tag
 * @param {...Part} parts
 */
function make(tag, ...parts) {
  const node = document.createElementNS(SPACE, tag);
  for (const part of parts) node.append(typeof part === "string" ? document.createTextNode(part) : part);
  return node;
}

/** @param {Part} part */
const boxed = (part) => (typeof part === "string" ? atom(part) : part);

/**
 * A letter, number or operator, told apart by what it is.
 * @param {string} text
 */
function atom(text) {
  if (/^[\d.,]+$/.test(text)) return make("mn", text);
  if (/^[\p{L}]$/u.test(text)) return make("mi", text);
  if (/^[\p{L}]{2,}$/u.test(text)) {
    const node = make("mi", text);
    node.setAttribute("mathvariant", "normal");
    return node;
  }
  return make("mo", text);
}

/** @param {...Part} parts */
export const row = (...parts) => make("mrow", ...parts.map(boxed));
/** @param {Part} above @param {Part} below */
export const fraction = (above, below) => make("mfrac", boxed(above), boxed(below));
/** @param {Part} base @param {Part} under */
export const sub = (base, under) => make("msub", boxed(base), boxed(under));
/** @param {Part} base @param {Part} over */
export const sup = (base, over) => make("msup", boxed(base), boxed(over));
/** @param {Part} base @param {Part} under @param {Part} over */
export const subsup = (base, under, over) => make("msubsup", boxed(base), boxed(under), boxed(over));

/**
 * A part that lights up together with all others of the same name.
 * @param {string} name
 * @param {Part} part
 */
export function term(name, part) {
  const node = make("mrow", boxed(part));
  node.setAttribute("data-term", name);
  node.setAttribute("class", "dw-term");
  return node;
}

/**
 * A whole formula.
 * @param {...Part} parts
 */
export function formula(...parts) {
  const node = make("math", row(...parts));
  node.setAttribute("display", "block");
  return node;
}
