// Shows parts of a whole as a bar.

import { h } from "./dom.js";

/**
 * Make a bar. Words beside it say the same, so screen readers pass it over.
 * @param {number[]} parts How long its parts are.
 * @param {number|null} whole How long the whole is; without one, the bar is empty.
 * @param {boolean} [low] Whether too little is left.
 */
export function meter(parts, whole, low = false) {
  const bars = parts.map((part, at) => {
    const bar = h(`div.part-${at}`, {});
    bar.style.width = `${whole ? Math.min(100, (part / whole) * 100) : 0}%`;
    return bar;
  });
  return h(`div.meter.parts${low ? ".is-low" : ""}`, { "aria-hidden": "true" }, bars);
}
