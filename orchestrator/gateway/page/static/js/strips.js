// The last 24 hours: a colored bar for each account, and one for the fleet, on which a common fall is seen at a glance.

import { get } from "./api.js";
import { fill, h, s, soon, text } from "./dom.js";
import { store } from "./store.js";
import { tone } from "./words.js";

const HOURS = 24;
/** From the bottom: what is wrong stands on the ground, so that its height can be compared. */
const TONES = ["bad", "wait", "scan", "good", "off"];
const FLEET_MS = 1000;
const UNKNOWN = "The last 24 hours are not known yet";

let begin = 0;
let slot = 0;
let states = [];
/** By account: for each slot the state that was worst in it, as one more than its place in `states`; 0 for unknown. */
const slots = new Map();
/** By account: how often its slots changed. */
const versions = new Map();
let fleet;

/** Build the strip of the fleet. */
export function mount(place) {
  fleet = makeFleet(place);
  store.on("hello", load);
  store.on("accounts", ({ changed, gone }) => {
    if (!slot) return;
    for (const name of gone) {
      slots.delete(name);
      versions.delete(name);
    }
    if (advance()) return;
    for (const name of changed) extend(name);
    fleet.draw();
  });
  store.on("tick", advance);
}

/** Make the strip of one account: `show` draws what is known of an account. */
export function make() {
  const paths = new Map();
  const element = s("svg", { class: "strip", role: "img", preserveAspectRatio: "none", "aria-label": UNKNOWN });
  let before = "";
  let name = null;
  element.addEventListener("pointermove", (event) => {
    const own = slots.get(name);
    if (!own) return;
    const at = slotAt(event, element, own.length);
    element.parentElement.title = own[at] ? `${clock(at)}: ${states[own[at] - 1]}` : clock(at);
  });
  return {
    element,
    show(account) {
      name = account.name;
      const own = slots.get(name);
      const now = own ? `${name} ${begin} ${versions.get(name)}` : "";
      if (now === before) return;
      before = now;
      if (!own) {
        element.replaceChildren();
        element.setAttribute("aria-label", UNKNOWN);
        paths.clear();
        return;
      }
      element.setAttribute("viewBox", `0 0 ${own.length} 10`);
      element.setAttribute("aria-label", inWords(own));
      const drawn = new Map();
      for (let from = 0; from < own.length;) {
        let to = from + 1;
        while (to < own.length && toneOf(own[to]) === toneOf(own[from])) to += 1;
        const color = toneOf(own[from]);
        if (color) drawn.set(color, `${drawn.get(color) ?? ""}M${from} 0H${to}V10H${from}z`);
        from = to;
      }
      paint(element, paths, drawn);
    },
  };
}

async function load() {
  let told;
  try {
    told = await get(`/page/strips?hours=${HOURS}`);
  } catch {
    // The strips are empty until the stream opens again; all else works without them.
    return;
  }
  if (store.hello === null) return;
  ({ begin, slot } = told);
  states = store.hello.states;
  const places = new Map(states.map((state, at) => [state, at + 1]));
  const length = Math.max(1, Math.min(2000, Math.floor((store.now() - begin) / slot) + 1));
  slots.clear();
  versions.clear();
  for (const [name, runs] of Object.entries(told.accounts)) {
    if (!store.accounts.has(name)) continue;
    const own = new Uint8Array(length);
    for (let at = 0; at < runs.length; at += 1) {
      const [from, state] = runs[at];
      own.fill(places.get(state) ?? 0, from, at + 1 < runs.length ? runs[at + 1][0] : length);
    }
    slots.set(name, own);
    versions.set(name, 0);
  }
  for (const name of store.accounts.keys()) extend(name);
  fleet.draw();
  store.tell("strips");
}

/** Put the state that an account has now into the slot of now, if that is worse than what was there. */
function extend(name) {
  const account = store.accounts.get(name);
  if (!account) return;
  let own = slots.get(name);
  if (!own) {
    const length = slots.values().next().value?.length ?? Math.max(1, Math.floor((store.now() - begin) / slot) + 1);
    own = new Uint8Array(length);
    slots.set(name, own);
    versions.set(name, 0);
  }
  const at = own.length - 1;
  const value = states.indexOf(account.state) + 1;
  if (!value || (own[at] && own[at] <= value)) return;
  own[at] = value;
  versions.set(name, versions.get(name) + 1);
}

/** Begin a new slot when its time has come; tells whether it did. */
function advance() {
  if (!slot || !slots.size) return false;
  const length = slots.values().next().value.length;
  const steps = Math.floor((store.now() - begin) / slot) - length + 1;
  if (steps <= 0) return false;
  const most = Math.ceil((HOURS * 3600) / slot);
  const grow = Math.max(0, Math.min(steps, most - length));
  const shift = steps - grow;
  for (const [name, own] of slots) {
    const next = new Uint8Array(length + grow);
    const kept = own.subarray(Math.min(shift, own.length));
    next.set(kept);
    next.fill(states.indexOf(store.accounts.get(name)?.state) + 1, kept.length);
    slots.set(name, next);
    versions.set(name, versions.get(name) + 1);
  }
  begin += shift * slot;
  for (const name of store.accounts.keys()) extend(name);
  fleet.draw();
  store.tell("strips");
  return true;
}

function makeFleet(place) {
  const paths = new Map();
  const picture = s("svg", { class: "fleet", role: "img", preserveAspectRatio: "none", "aria-label": "The fleet in the last 24 hours" });
  const hours = h("div.hours", { "aria-hidden": "true" });
  const words = h("p.tip", { hidden: true, "aria-hidden": "true" });
  const line = h("div.line", { hidden: true });
  fill(place, h("div.frame", {}, picture, line, words), hours);
  place.hidden = true;
  let last = 0;
  let timer = 0;
  let sums = [];

  function now() {
    timer = 0;
    last = performance.now();
    const own = [...slots.values()];
    place.hidden = own.length === 0;
    if (!own.length) return;
    const { length } = own[0];
    sums = Array.from({ length }, () => new Map());
    for (const values of own) {
      for (let at = 0; at < length; at += 1) if (values[at]) sums[at].set(values[at], (sums[at].get(values[at]) ?? 0) + 1);
    }
    const floor = new Array(length).fill(0);
    const drawn = new Map();
    for (const color of TONES) {
      let d = "";
      for (let at = 0; at < length; at += 1) {
        let amount = 0;
        for (const [value, number] of sums[at]) if (toneOf(value) === color) amount += number;
        if (!amount) continue;
        const from = floor[at];
        floor[at] += amount;
        d += `M${at} ${own.length - from}H${at + 1}V${own.length - floor[at]}H${at}z`;
      }
      if (d) drawn.set(color, d);
    }
    picture.setAttribute("viewBox", `0 0 ${length} ${own.length}`);
    picture.setAttribute("aria-label", fleetInWords(sums));
    paint(picture, paths, drawn);
    label(hours, length);
  }

  picture.addEventListener("pointermove", (event) => {
    if (!sums.length) return;
    const at = slotAt(event, picture, sums.length);
    const parts = [...sums[at]].sort(([a], [b]) => a - b).map(([value, number]) => `${number} ${states[value - 1]}`);
    words.hidden = false;
    line.hidden = false;
    text(words, `${clock(at)}  ${parts.join(" · ") || "nothing is known"}`);
    const share = (at + 0.5) / sums.length;
    line.style.left = `${share * 100}%`;
    words.style.left = share < 0.5 ? `calc(${share * 100}% + 8px)` : "";
    words.style.right = share < 0.5 ? "" : `calc(${(1 - share) * 100}% + 8px)`;
  });
  picture.addEventListener("pointerleave", () => { words.hidden = true; line.hidden = true; });

  return {
    draw: soon(() => { timer ||= setTimeout(now, Math.max(0, FLEET_MS - (performance.now() - last))); }),
  };
}

function label(hours, length) {
  const until = begin + length * slot;
  const marks = [];
  const first = new Date(begin * 1000);
  first.setMinutes(0, 0, 0);
  for (let at = first.getTime() / 1000; at < until; at += 3600) {
    const hour = new Date(at * 1000).getHours();
    const share = (at - begin) / (until - begin);
    if (hour % 3 || share < 0.03 || share > 0.97) continue;
    const mark = h("span", {}, `${String(hour).padStart(2, "0")}:00`);
    mark.style.left = `${share * 100}%`;
    marks.push(mark);
  }
  fill(hours, marks);
}

/** Draw one path for each tone; paths that are there already are kept. */
function paint(element, paths, drawn) {
  for (const [color, path] of paths) {
    if (drawn.has(color)) continue;
    path.remove();
    paths.delete(color);
  }
  for (const [color, d] of drawn) {
    let path = paths.get(color);
    if (!path) {
      path = s("path", { class: `fill-${color}` });
      paths.set(color, path);
      element.append(path);
    }
    if (path.getAttribute("d") !== d) path.setAttribute("d", d);
  }
}

const toneOf = (value) => (value ? tone(states[value - 1]) : null);

function slotAt(event, element, length) {
  const { left, width } = element.getBoundingClientRect();
  return Math.min(length - 1, Math.max(0, Math.floor(((event.clientX - left) / width) * length)));
}

/** From when until when a slot is, in local time. */
function clock(at) {
  const time = (seconds) => new Date(seconds * 1000).toTimeString().slice(0, 5);
  return `${time(begin + at * slot)}–${time(begin + (at + 1) * slot)}`;
}

function inWords(own) {
  const amounts = new Map();
  for (const value of own) amounts.set(value, (amounts.get(value) ?? 0) + 1);
  const parts = [...amounts].sort(([, a], [, b]) => b - a)
    .map(([value, number]) => `${value ? states[value - 1] : "unknown"} ${Math.max(1, Math.round((100 * number) / own.length))}%`);
  return `Last ${HOURS} hours: ${parts.join(", ")}`;
}

function fleetInWords(sums) {
  let worst = 0;
  let most = -1;
  for (const [at, amounts] of sums.entries()) {
    let bad = 0;
    for (const [value, number] of amounts) if (!["good", "off"].includes(toneOf(value))) bad += number;
    if (bad > most) [worst, most] = [at, bad];
  }
  return most > 0 ? `The fleet in the last ${HOURS} hours: most trouble at ${clock(worst)}, ${most} accounts were not connected`
    : `The fleet in the last ${HOURS} hours: no trouble`;
}
