// How many accounts are in which state, as filter buttons, and how many need a person: in the title and the icon, too.

import { needOf } from "./attention.js";
import { announce, fill, h, soon, text } from "./dom.js";
import { found } from "./filter.js";
import { icon } from "./icons.js";
import * as list from "./list.js";
import { go, listOf, onChange, parameters } from "./router.js";
import { store } from "./store.js";
import { count, tone } from "./words.js";

/** There are icons with numbers up to this one. */
const MOST_IN_ICON = 99;
/** Many accounts that fall together are announced once. */
const SAY_MS = 1500;

const buttons = new Map();
let needed = null;
let saying = 0;

/** Build the buttons. */
export function mount(place) {
  const all = button("", "all", "All", {});
  const need = button("need", "need", "Needs you", {});
  need.element.prepend(icon("person"));
  fill(place, all.element, need.element);
  const show = soon(() => draw(place, all, need));
  store.on("accounts", show);
  store.on("consumers", show);
  store.on("hello", () => { for (const { element } of buttons.values()) element.remove(); buttons.clear(); show(); });
  onChange(show);
}

/** How many accounts and consumers need a person; `scans` are those of the accounts that wait for a scan. */
function needing() {
  let accounts = 0;
  let scans = 0;
  for (const account of store.accounts.values()) {
    const need = needOf(account);
    if (need !== null) accounts += 1;
    if (need?.kind === "code") scans += 1;
  }
  return { accounts, scans, consumers: store.consumers.filter((consumer) => needOf(consumer) !== null).length };
}

function draw(place, all, need) {
  const filter = list.current();
  const amounts = new Map();
  let sum = 0;
  let needs = 0;
  for (const account of store.accounts.values()) {
    if (!found(account, filter)) continue;
    sum += 1;
    if (needOf(account) !== null) needs += 1;
    amounts.set(account.state, (amounts.get(account.state) ?? 0) + 1);
  }
  all.show(sum, filter.states === null && !filter.need, true);
  need.show(needs, filter.need, needs > 0 || filter.need);
  const states = [...(store.hello?.states ?? [])];
  for (const state of amounts.keys()) if (!states.includes(state)) states.unshift(state);
  for (const [at, state] of states.entries()) {
    let one = buttons.get(state);
    if (!one) {
      if (!amounts.has(state)) continue;
      one = button("state", state, state, { tone: tone(state) });
      one.at = at;
      buttons.set(state, one);
      const after = [...buttons.values()].filter((other) => other.at > at).sort((a, b) => a.at - b.at)[0];
      place.insertBefore(one.element, after?.element ?? null);
    }
    const amount = amounts.get(state) ?? 0;
    const on = filter.states?.has(state) ?? false;
    one.show(amount, on, amount > 0 || on);
  }
  tellNeeds(needing());
}

function button(kind, value, words, { tone: color }) {
  const number = h("b", {}, "0");
  const element = h("button.count", {
    type: "button", class: `count${color ? ` tone-${color}` : ""} k-${kind || "all"}`, "aria-pressed": "false",
    on: { click: () => choose(kind, value) },
  }, h("span", {}, words), number);
  let amount = null;
  return {
    element,
    show(now, on, seen) {
      if (amount !== now) text(number, now.toLocaleString("en-US"));
      amount = now;
      const pressed = String(on);
      if (element.getAttribute("aria-pressed") !== pressed) element.setAttribute("aria-pressed", pressed);
      element.hidden = !seen;
    },
  };
}

function choose(kind, value) {
  if (kind === "") return go({ state: "", need: "" });
  if (kind === "need") return go({ need: parameters().need === "1" ? "" : "1", state: "" });
  const states = listOf(parameters().state);
  const now = states.includes(value) ? states.filter((one) => one !== value) : [...states, value];
  go({ state: now.join(","), need: "" });
}

function tellNeeds({ accounts, consumers, scans }) {
  badge("codes", scans, "scan", "wait for a scan");
  badge("deliveries", consumers, "bad", "need you");
  const sum = accounts + consumers;
  const title = sum ? `(${sum}) Orchestrator` : "Orchestrator";
  if (document.title !== title) document.title = title;
  const address = `/page/icon-${Math.min(MOST_IN_ICON, sum)}.svg`;
  const link = document.getElementById("icon");
  if (link.getAttribute("href") !== address) link.setAttribute("href", address);
  const before = needed;
  needed = sum;
  if (before === null || before === sum) return;
  clearTimeout(saying);
  saying = setTimeout(() => announce(inWords(needing())), SAY_MS);
}

/** Put a number on the button of a view. */
function badge(view, amount, color, words) {
  const number = document.querySelector(`#views [data-view="${view}"] .number`);
  number.hidden = amount === 0;
  number.className = `number ${color}`;
  if (number.dataset.amount === String(amount)) return;
  number.dataset.amount = String(amount);
  fill(number, amount, h("span.unseen", {}, ` ${words}`));
}

function inWords({ accounts, consumers }) {
  const verb = (number) => (number === 1 ? "needs" : "need");
  const parts = [];
  if (accounts) parts.push(`${count(accounts, "account")} ${verb(accounts)} you`);
  if (consumers) parts.push(`${count(consumers, "delivery", "deliveries")} ${verb(consumers)} you`);
  return parts.join(", ") || "Nothing needs you";
}
