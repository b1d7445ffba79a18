// Colours with one meaning each: viridis or cividis for magnitudes, a diverging map for signs, Okabe–Ito for classes.

const STOPS = {
  viridis:
    "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725",
  cividis:
    "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",
  // Pale in the middle on a light page, dark in the middle on a dark one: "no difference" recedes into either.
  diverging:
    "053061 175290 2a71b2 3f8ec0 6bacd1 9bc9e0 c2ddec e0ecf3 f7f6f6 fbe5d8 fbccb4 f5aa89 e48066 d05548 ba2832 930e26 67001f",
  "diverging-dark":
    "9eb0ff 79abed 519fd3 3685ad 286886 1d4b61 14303e 1a2329 232323 2b1510 411201 5b1d08 7d341e 9e513f be6f63 df8f89 ffadad",
};

/** @typedef {keyof typeof STOPS} MapName */

/** @type {Map<string, Uint8ClampedArray>} */
const tables = new Map();

/**
 * A colour map as 256 RGB triples.
 * @param {MapName} name
 */
export function table(name) {
  let found = tables.get(name);
  if (!found) {
    const stops = STOPS[name].split(" ").map((hex) => [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16)));
    found = new Uint8ClampedArray(768);
    for (let i = 0; i < 256; i++) {
      const position = (i / 255) * (stops.length - 1);
      const left = Math.min(stops.length - 2, Math.floor(position));
      for (let k = 0; k < 3; k++)
        found[3 * i + k] = stops[left][k] + (position - left) * (stops[left + 1][k] - stops[left][k]);
    }
    tables.set(name, found);
  }
  return found;
}

/**
 * The index 0..255 of `value` between `low` and `high`, clamped.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function level(value, low, high) {
  return Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low || 1))));
}

/**
 * @param {MapName} name
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function colour(name, value, low, high) {
  const rgb = table(name);
  const i = 3 * level(value, low, high);
  return `rgb(${rgb[i]},${rgb[i + 1]},${rgb[i + 2]})`;
}

/**
 * Black or white, whichever reads better on this cell.
 * @param {MapName} name
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function inkOn(name, value, low, high) {
  const rgb = table(name);
  const [r, g, b] = [0, 1, 2].map((k) => (rgb[3 * level(value, low, high) + k] / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";
}

// Okabe and Ito's eight, the most distinct first. Black is no colour on a dark page, so there it is light grey.
const OKABE_ITO = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#333333"];
const OKABE_ITO_DARK = ["#4aa8e0", "#e69f00", "#1cb98b", "#e08fbd", "#8fd0f5", "#f0782a", "#f0e442", "#c8c8c8"];

/**
 * The colour of class `index`. From the ninth on colours repeat: draw those marks hollow and label them.
 * @param {number} index
 * @param {boolean} dark
 */
export function classColour(index, dark) {
  return (dark ? OKABE_ITO_DARK : OKABE_ITO)[((index % 8) + 8) % 8];
}

/** @param {number} index */
export function isHollow(index) {
  return Math.floor(index / 8) % 2 === 1;
}

/**
 * The colour of a run: the teacher is always blue and the student always orange (a darker one on light pages, where a
 * thin line of Okabe–Ito orange would be too faint to follow).
 * @param {"teacher" | "student" | "other"} role
 * @param {number} index counts the runs whose role is "other"
 * @param {boolean} dark
 */
export function runColour(role, index, dark) {
  if (role === "teacher") return dark ? "#56b4e9" : "#0072b2";
  if (role === "student") return dark ? "#e69f00" : "#d55e00";
  const others = dark
    ? ["#1cb98b", "#e08fbd", "#f0e442", "#c8c8c8", "#8fd0f5"]
    : ["#00805d", "#b4558a", "#8a6d00", "#333333", "#3a8bc0"];
  return others[index % others.length];
}
