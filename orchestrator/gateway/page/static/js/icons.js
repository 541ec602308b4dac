// The icons of the page: lines on a field of 24 by 24, in the color of the text beside them.

import { s } from "./dom.js";

const LINES = {
  accounts: "M4 6h16M4 12h16M4 18h16",
  codes: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2h-2zM18 18h2v2h-2zM18 14h2M14 20h2",
  deliveries: "M4 12h13M12 6l6 6-6 6M21 5v14",
  sending: "M21 3L10 14M21 3l-7 18-4-7-7-4z",
  fleet: "M4 20V10M10 20V4M16 20v-7M22 20H2",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l5 5",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12l5 5L19 7",
  plus: "M12 5v14M5 12h14",
  start: "M8 5l11 7-11 7z",
  stop: "M6 6h12v12H6z",
  restart: "M20 11a8 8 0 1 0-2.5 6.5M20 4v7h-7",
  repair: "M9 15l-3 3a3.5 3.5 0 0 1-5-5l4-4a3.5 3.5 0 0 1 5 0M15 9l3-3a3.5 3.5 0 0 1 5 5l-4 4a3.5 3.5 0 0 1-5 0",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  columns: "M4 5h16v14H4zM10 5v14M15 5v14",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  warn: "M12 3l10 18H2zM12 10v5M12 18v.5",
  pause: "M8 5v14M16 5v14",
  person: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4 21c0-4 4-6 8-6s8 2 8 6",
  help: "M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 17.5v.5",
};

/** Make an icon. What it says is said by a word beside it, or by the label of its button. */
export function icon(name) {
  const picture = s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" });
  picture.append(s("path", { d: LINES[name] }));
  return picture;
}
