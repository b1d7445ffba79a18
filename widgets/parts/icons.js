// Line icons drawn here, so that they look the same on every machine and follow the text colour.

const PATHS = {
  play: "M4.5 2.8 12.5 8l-8 5.2z",
  pause: "M5 3v10M11 3v10",
  first: "M3.5 3v10M12.5 3 6 8l6.5 5z",
  last: "M12.5 3v10M3.5 3 10 8l-6.5 5z",
  settings: "M2 4.5h6M11 4.5h3M2 11.5h3M8 11.5h6M9.5 3v3M6.5 10v3",
  table: "M2 3h12v10H2zM2 6.5h12M2 9.75h12M6.5 3v10",
  code: "M5.5 4 1.8 8l3.7 4M10.5 4l3.7 4-3.7 4",
  download: "M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11",
  expand: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  help: "M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2.9-1.2 1.9M8 12.6v.4",
  explain: "M2.5 3h11v8H8.5L5.5 13.5V11h-3zM5.5 6h5M5.5 8h3",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  move: "M8 1.8v12.4M1.8 8h12.4M6.3 3.4 8 1.7l1.7 1.7M6.3 12.6 8 14.3l1.7-1.7M3.4 6.3 1.7 8l1.7 1.7M12.6 6.3 14.3 8l-1.7 1.7",
  rectangle:
    "M2.5 3.5h2M6.5 3.5h3M11.5 3.5h2v2M13.5 7.5v2M13.5 11.5v1h-2M9.5 12.5h-3M4.5 12.5h-2v-1M2.5 9.5v-2M2.5 5.5v-2",
  lasso:
    "M5 11.2C3 10.4 2 9 2 7.4 2 4.8 4.7 3 8 3s6 1.8 6 4.4-2.7 4.4-6 4.4c-.8 0-1.5-.1-2.2-.3M5.8 11.5c0 1-.8 1.5-1.6 1.3-.9-.2-1.2-1.3-.5-1.9.8-.6 2.1 0 2.1 1.2 0 .9-.6 1.6-1.5 2",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2.5 5.5v-3h3M10.5 2.5h3v3M13.5 10.5v3h-3M5.5 13.5h-3v-3M5.5 5.5h5v5h-5z",
  order: "M4.5 13V3M2.5 5l2-2 2 2M8.5 3h5M8.5 6.5h4M8.5 10h3M8.5 13h2",
  pin: "M8 9.5V14M5 9.5h6l-1-2.5V3H6v4z",
};

/** @typedef {keyof typeof PATHS} IconName */

/** @param {IconName} name */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("dw-icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
