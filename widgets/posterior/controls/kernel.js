// The kernel of a posterior: a choice of names, and the fitted one in words.

import { el, fill, write } from "../../parts/dom.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("./controls.js").Refits} refits
 */
export function createKernel(frame, refits) {
  const kernel = el("select", { "data-testid": "setting-kernel", "aria-label": "kernel" });
  frame.listen(kernel, "change", () => refits.ask({ kernel: kernel.value }));
  const said = el("span", { class: "dw-quiet dw-kernel-text", "data-testid": "kernel-text" });
  const label = el("span", { class: "dw-slider-label" }, "kernel");
  return {
    node: el("label", { class: "dw-setting dw-kernel" }, label, kernel, said),
    /** @param {string[]} names @param {string} text @param {boolean} disabled */
    update(names, text, disabled) {
      kernel.hidden = !names.length;
      if (kernel.options.length !== names.length)
        fill(kernel, ...names.map((name) => el("option", { value: name }, name)));
      kernel.value = refits.current("kernel");
      kernel.disabled = disabled;
      write(said, text);
      said.title = text;
    },
  };
}
