// The wall of codes: every account that waits for a scan, with its code, large enough to be scanned.
//
// Only what is on the screen is asked for. While it is there, the gateway hears that somebody looks: accounts with
// `pairing: on_demand` show codes only meanwhile.

import { post } from "./api.js";
import { fill, h, soon, text } from "./dom.js";
import { show as showDialog } from "./dialog.js";
import { filterOf, found, narrows } from "./filter.js";
import { icon } from "./icons.js";
import { keyed } from "./keyed.js";
import { codeView, WATCHING_MS } from "./pairing.js";
import { onChange, parameters, view } from "./router.js";
import { store } from "./store.js";
import * as tools from "./tools.js";
import { card } from "./wallcard.js";
import { byName, count } from "./words.js";

/** Several codes come onto the screen together: one word about all of them is enough. */
const TOGETHER_MS = 300;
/** How long it is seen that a code was used. */
const CONNECTED_SECONDS = 6;
/** As many names as the gateway takes at once. */
const MOST_NAMES = 1000;

const cards = new Map();
const onScreen = new Set();
/** Accounts that have been on the wall, and when each was seen to be connected: null as long as it is not. */
const members = new Map();

let shown = false;
let place;
let list;
let number;
let hint;
let nothing;
let draw;
let screen;
let watching = 0;
let current = null;

/** Build this part of the page. */
export function mount(section) {
  place = section;
  number = h("h2", {});
  hint = h("p.soft", {});
  list = h("ul.wall", { on: { keydown: pressed, focusin: ({ target }) => point(target.closest("li")?.dataset.name ?? null) } });
  nothing = h("div.empty", {});
  fill(place, h("header.wall-head", {}, number, hint), list, nothing);
  draw = keyed(list, (account) => {
    const one = card(account.name, { open: () => enlarge(account.name) });
    cards.set(account.name, one);
    screen.observe(one.element);
    return one;
  });
  screen = new IntersectionObserver(moved, { rootMargin: "120px" });
  const again = soon(render);
  store.on("accounts", again);
  store.on("session", again);
  store.on("hello", again);
  onChange(again);
  store.on("tick", tick);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) watch(); });
  addEventListener("keydown", arrived);
}

/** Hear whether somebody sees the wall. */
export function seen(on) {
  if (shown === on) return;
  shown = on;
  if (!on) members.clear();
  render();
  if (on) watch();
}

/**
 * Say how an account stands on the wall.
 * @param {Object} account A row of the stream.
 * @param {boolean} was Whether it was there just now.
 * @returns {?("code"|"soon"|"linking"|"connected")} Null if it has no place there.
 */
export function standing(account, was) {
  const { state, kind } = account;
  if (state === "pairing") return account.code_until === null ? "soon" : "code";
  if (state === "backoff" && kind === "pairing_expired") return "soon";
  if (!was) return null;
  if (state === "starting" || state === "backoff") return "soon";
  if (state === "connecting" || state === "reconnecting") return "linking";
  return state === "connected" ? "connected" : null;
}

function render() {
  if (!shown) {
    drop([...cards.keys()]);
    draw([]);
    return;
  }
  const filter = { ...filterOf(parameters()), states: null, need: false };
  const now = performance.now() / 1000;
  const there = [];
  let waiting = 0;
  for (const account of store.accounts.values()) {
    const how = standing(account, members.has(account.name));
    const since = how === "connected" ? members.get(account.name) ?? now : null;
    if (how === null || (since !== null && now - since > CONNECTED_SECONDS)) {
      members.delete(account.name);
      continue;
    }
    members.set(account.name, since);
    if (how !== "connected") waiting += 1;
    if (found(account, filter)) there.push([account.name, { ...account, how }]);
  }
  for (const name of members.keys()) if (!store.accounts.has(name)) members.delete(name);
  there.sort(([a], [b]) => byName(a, b));
  const kept = new Set(there.map(([name]) => name));
  const focused = list.contains(document.activeElement) ? current : null;
  const next = focused !== null && !kept.has(focused) ? neighbor(focused, kept) : null;
  drop([...cards.keys()].filter((name) => !kept.has(name)));
  draw(there);
  if (next !== null) cards.get(next)?.focus();
  if (current === null || !kept.has(current)) point(next ?? there[0]?.[0] ?? null);
  say(waiting, there.length, narrows(filter));
}

/** Forget cards that go; `draw` takes them off the wall. */
function drop(gone) {
  for (const name of gone) {
    const one = cards.get(name);
    screen.unobserve(one.element);
    one.end();
    cards.delete(name);
    onScreen.delete(name);
  }
}

function say(waiting, there, narrowed) {
  text(number, waiting ? `${count(waiting, "account waits", "accounts wait")} for a scan` : "No account waits for a scan");
  text(hint, store.may("operate")
    ? "On the phone: Settings, Linked devices, Link a device. Open a card to show its code alone, so that the phone sees no other."
    : "This session may only look, so no code is shown. Codes need the scope operate.");
  hint.hidden = waiting === 0;
  nothing.hidden = there > 0;
  if (there > 0) return;
  const words = store.hello === null ? "Waiting for the gateway…"
    : waiting && narrowed ? "None of them matches the search."
      : "Codes come here by themselves when an account has to be linked.";
  fill(nothing, h("p", {}, words),
    waiting && narrowed ? h("button", { type: "button", on: { click: tools.clear } }, "Clear filter") : null);
}

// What is on the screen

function moved(entries) {
  let more = false;
  for (const { target, isIntersecting } of entries) {
    const { name } = target.dataset;
    if (!cards.has(name)) continue;
    if (isIntersecting) onScreen.add(name);
    else onScreen.delete(name);
    more ||= isIntersecting;
    cards.get(name).onScreen(isIntersecting);
  }
  if (more) watchSoon();
}

let together = 0;
function watchSoon() {
  clearTimeout(together);
  together = setTimeout(watch, TOGETHER_MS);
}

/** Say that somebody looks at the codes that are on the screen. */
async function watch() {
  if (!shown || document.hidden || !store.may("operate") || onScreen.size === 0) return;
  watching = performance.now();
  const wanted = [...onScreen].filter((name) => members.get(name) === null).slice(0, MOST_NAMES);
  if (!wanted.length) return;
  try {
    await post("/page/watching", { names: wanted });
  } catch {
    // The next time is soon. Without it, only accounts that wait until somebody looks show no code; they say so.
  }
}

function tick() {
  if (!shown) return;
  for (const name of onScreen) cards.get(name)?.tick();
  for (const since of members.values()) {
    if (since !== null) {
      render();
      break;
    }
  }
  if (performance.now() - watching > WATCHING_MS) watch();
}

// By keyboard: one card has the focus, and keys move it

function point(name) {
  if (current !== null) cards.get(current)?.reachable(false);
  current = name;
  if (current !== null) cards.get(current)?.reachable(true);
}

function order() {
  return [...list.children].map((one) => one.dataset.name);
}

function neighbor(name, kept) {
  const all = order();
  const at = all.indexOf(name);
  return all.slice(at + 1).find((one) => kept.has(one)) ?? all.slice(0, at).reverse().find((one) => kept.has(one)) ?? null;
}

function columns() {
  return Math.max(1, getComputedStyle(list).gridTemplateColumns.split(" ").length);
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const all = order();
  const at = all.indexOf(current);
  const to = {
    ArrowRight: at + 1, j: at + 1, ArrowLeft: at - 1, k: at - 1, ArrowDown: at + columns(), ArrowUp: at - columns(),
    Home: 0, End: all.length - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  if (all[to]) cards.get(all[to]).focus();
}

/** The first j, k or arrow goes to the wall from wherever the focus is. */
function arrived(event) {
  const { key, target } = event;
  if (!shown || view() !== "codes" || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]") || target.closest?.("input, textarea, select, button, summary, aside")) return;
  if (current === null || !(key === "j" || key === "k" || key === "Enter")) return;
  event.preventDefault();
  if (key === "Enter") enlarge(current);
  else cards.get(current)?.focus();
}

// One alone

function enlarge(name) {
  if (!store.may("operate")) return;
  let at = name;
  let code = null;
  const back = h("button", { type: "button", on: { click: () => turn(-1) } }, icon("left"), "Previous");
  const on = h("button", { type: "button", on: { click: () => turn(1) } }, "Next", icon("right"));
  const dialog = showDialog({ title: at, body: [], buttons: [back, on], size: "wide", focus: on });
  dialog.element.classList.add("alone");
  dialog.element.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowRight" || key === "j") turn(1);
    else if (key === "ArrowLeft" || key === "k") turn(-1);
  });
  dialog.closed.then(() => {
    code.end();
    cards.get(at)?.focus();
  });
  present();

  function present() {
    code?.end();
    const account = store.accounts.get(at);
    code = codeView(at);
    dialog.retitle([at, account?.phone].filter(Boolean).join(" · "));
    back.disabled = near(-1) === null;
    on.disabled = near(1) === null;
    dialog.set(code.element, [back, on]);  // the focus goes to a button that is not disabled
  }
  function near(by) {
    const all = order();
    return all[all.indexOf(at) + by] ?? null;
  }
  function turn(by) {
    const next = near(by);
    if (next === null) return;
    at = next;
    point(at);
    present();
  }
}
