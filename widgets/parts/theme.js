// The notebook's theme as plain colours for canvases and charts, and a word when it changes.

/**
 * @typedef {{ dark: boolean, paper: string, ink: string, quiet: string, line: string, panel: string, focus: string,
 *   font: string, scale: number, type: (size: number, weight?: number) => string }} Theme
 *   scale: lines and points are drawn so many times as thick; type: a canvas font of so many px, 12 at least
 */

/** px of the smallest text. */
const SMALLEST = 12;

/** How much larger type, lines and points are on a projector. */
export const PROJECTOR = 1.4;

/**
 * Read the theme off an element of class `dw`.
 * @param {HTMLElement} root
 * @returns {Theme}
 */
export function readTheme(root) {
  const style = getComputedStyle(root);
  const paper = style.backgroundColor;
  const scale = root.hasAttribute("data-projector") ? PROJECTOR : 1;
  return {
    dark: luminance(paper) < 0.4,
    paper,
    ink: style.color,
    // Custom properties may hold other var()s; a probe resolves them to a colour a canvas understands.
    quiet: resolve(root, "--dw-quiet"),
    line: resolve(root, "--dw-line"),
    panel: resolve(root, "--dw-panel"),
    focus: resolve(root, "--dw-focus"),
    font: style.fontFamily,
    scale,
    type: (size, weight = 400) => `${weight} ${scale * Math.max(SMALLEST, size)}px ${style.fontFamily}`,
  };
}

/**
 * Call `changed` when the page switches theme. Returns the function that stops watching.
 * @param {() => void} changed
 */
export function watchTheme(changed) {
  const observer = new MutationObserver(changed);
  const options = {
    attributes: true,
    attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "class", "style"],
  };
  observer.observe(document.documentElement, options);
  observer.observe(document.body, options);
  // JupyterLab swaps a style sheet some time after it has set the attribute.
  document.head.addEventListener("load", changed, true);
  const system = globalThis.matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    document.head.removeEventListener("load", changed, true);
    system.removeEventListener("change", changed);
  };
}

/**
 * @param {HTMLElement} root
 * @param {string} property
 */
function resolve(root, property) {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  probe.hidden = true;
  root.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** @param {string} colour as getComputedStyle gives it */
function luminance(colour) {
  const [r, g, b] = (colour.match(/[\d.]+/g) ?? ["255", "255", "255"]).map(Number);
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}
