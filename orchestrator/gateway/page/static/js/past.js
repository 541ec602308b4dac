// How a number went lately: a small picture of the last minutes, kept in this browser while the page is open.

import { s } from "./dom.js";

const WIDTH = 72;
const HEIGHT = 20;
const POINTS = 60;
/** How many seconds each point stands for. */
export const POINT_SECONDS = 5;

/** The last minutes of several numbers, by name. */
export class Past {
  #points = new Map();

  /**
   * Take note of the present numbers; what has none any more is forgotten.
   * @param {Array<[string, number]>} present
   */
  note(present) {
    const before = this.#points;
    this.#points = new Map();
    for (const [name, number] of present) {
      const points = before.get(name) ?? [];
      points.push(number);
      if (points.length > POINTS) points.shift();
      this.#points.set(name, points);
    }
  }

  /** The points of one, oldest first. */
  of(name) {
    return this.#points.get(name) ?? [];
  }
}

/** The lines of a picture as SVG writes them: `line` along the points, `area` below. Empty without two points. */
export function paths(points, width = WIDTH, height = HEIGHT) {
  if (points.length < 2) return { line: "", area: "" };
  const most = Math.max(1, ...points);
  const step = width / (POINTS - 1);
  const first = width - (points.length - 1) * step;
  const places = points.map((point, at) => {
    const y = height - 1.5 - (point / most) * (height - 3);
    return `${(first + at * step).toFixed(1)} ${y.toFixed(1)}`;
  });
  const line = `M${places.join("L")}`;
  return { line, area: `${line}V${height}H${first.toFixed(1)}Z` };
}

/** Make a picture; `show` gives it other points. What it shows stands beside it as a number, too. */
export function picture() {
  const area = s("path", { class: "area" });
  const line = s("path", { class: "line" });
  const element = s("svg", {
    class: "past", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true", focusable: "false",
  }, area, line);
  const show = (points) => {
    const found = paths(points);
    area.setAttribute("d", found.area);
    line.setAttribute("d", found.line);
  };
  return { element, show };
}
