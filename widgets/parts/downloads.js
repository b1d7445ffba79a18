// Files made in the browser: a table, a page, and a picture of the widget exactly as it looks.

/**
 * @param {string} name
 * @param {Blob} blob
 */
function saveBlob(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * @param {string} name
 * @param {string} text
 * @param {string} type
 */
export function saveText(name, text, type) {
  saveBlob(name, new Blob([text], { type }));
}

/**
 * Download the view as a PNG at twice its size.
 * @param {import("./frame.js").Frame} frame
 * @param {string} name
 */
export async function savePicture(frame, name) {
  saveBlob(`${name}.png`, await pictureOf(frame));
}

/**
 * The page's own engine draws a copy of the widget in which each canvas has become an image: nothing is laid out twice.
 * @param {import("./frame.js").Frame} frame
 * @returns {Promise<Blob>}
 */
export async function pictureOf({ root, model }) {
  const { width, height } = root.getBoundingClientRect();
  const copy = /** @type {HTMLElement} */ (root.cloneNode(true));
  const canvases = root.querySelectorAll("canvas");
  copy.querySelectorAll("canvas").forEach((canvas, index) => {
    const image = document.createElement("img");
    image.src = canvases[index].toDataURL();
    image.style.cssText = canvas.style.cssText;
    image.className = canvas.className;
    canvas.replaceWith(image);
  });
  copy.querySelectorAll(".dw-panel, .dw-tooltip, .dw-tools, .dw-unseen").forEach((node) => node.remove());
  // Inside the picture there is no notebook whose variables could be inherited.
  const style = getComputedStyle(root);
  for (const token of ["paper", "panel", "ink", "quiet", "line", "focus", "teacher", "student", "warn"]) {
    copy.style.setProperty(`--dw-${token}`, style.getPropertyValue(`--dw-${token}`));
  }
  copy.style.width = `${width}px`;
  const sheet = document.createElement("style");
  sheet.textContent = model.get("_css") ?? "";
  copy.prepend(sheet);
  const inner = new XMLSerializer().serializeToString(copy);
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><foreignObject width="100%" height="100%">${inner}</foreignObject></svg>`;
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(2 * width);
  canvas.height = Math.round(2 * height);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = style.backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(2, 2);
  context.drawImage(image, 0, 0);
  return new Promise((resolve, reject) =>
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be encoded"))),
      "image/png",
    ),
  );
}
