// Which accounts are shown, in which order, which of them are selected, and at which one the operator is.
// The table, the counts, the wall and the bulk actions all ask here.

import { soon } from "./dom.js";
import { filterOf, matches, order } from "./filter.js";
import { go, listOf, onChange, parameters } from "./router.js";
import { store } from "./store.js";

/** A row that moves while somebody aims at it is worse than one that is at the wrong place for a moment. */
const RESORT_MS = 2000;
/** An address with more names than this is cut by mail programs: then the selection is not in it. */
const LONGEST_SELECTION = 2000;

let filter = filterOf(parameters());
let names = [];
let selection = new Set(listOf(parameters().selected));
let anchor = null;
let at = null;
let atIndex = -1;
let sortedAt = 0;
let resort = null;

/** The names that are shown, in the order of the table. Tells "shown" when they change. */
export const shown = () => names;
/** The filter that is in force. */
export const current = () => filter;
/** The names that are selected: of no more use than until the next "selection". */
export const selected = () => selection;
/** The account at which the operator is, by keyboard: a name, or null. */
export const cursor = () => at;

/** Select an account, or no longer; `range` takes all from the one that was selected last. */
export function select(name, on, range = false) {
  const from = range && anchor !== null ? names.indexOf(anchor) : -1;
  const to = names.indexOf(name);
  const chosen = from < 0 || to < 0 ? [name] : names.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const one of chosen) {
    if (on) selection.add(one);
    else selection.delete(one);
  }
  anchor = name;
  tellSelection();
}

/** Select all that are shown, or none at all. */
export function selectAll(on) {
  selection = new Set(on ? names : []);
  anchor = null;
  tellSelection();
}

/** Put the cursor on an account. */
export function moveTo(name) {
  if (at === name && name !== null) return;
  at = name;
  atIndex = names.indexOf(name);
  store.tell("cursor", at);
}

/** Move the cursor by rows. Where its account is no longer shown, the cursor goes on from where that was. */
export function move(by) {
  if (!names.length) return;
  const now = names.indexOf(at);
  const next = now >= 0 ? now + by : by > 0 && at !== null ? atIndex : atIndex + by;
  moveTo(names[Math.min(names.length - 1, Math.max(0, next))]);
}

/** Begin to follow the accounts and the address. */
export function mount() {
  store.on("accounts", ({ gone, all }) => {
    let less = false;
    for (const name of gone) less = selection.delete(name) || less;
    if (all && store.accounts.size) {
      for (const name of selection) if (!store.accounts.has(name)) less = selection.delete(name);
    }
    if (less) tellSelection();
    if (all) sortedAt = 0;
    refresh();
  });
  let before = signature();
  onChange(() => {
    const now = signature();
    if (now === before) return;
    before = now;
    filter = filterOf(parameters());
    sortedAt = 0;
    compute();
    // Whoever changes the filter must not act on what the new one hides.
    const kept = new Set(names);
    const size = selection.size;
    for (const name of selection) if (!kept.has(name)) selection.delete(name);
    if (selection.size !== size) tellSelection();
  });
}

const refresh = soon(compute);

function signature() {
  const { state, tag, q, need, sort } = parameters();
  return JSON.stringify([state, tag, q, need, sort]);
}

/** Find the names anew. Rows that are shown keep their places for a moment; new ones go where they belong. */
function compute() {
  const states = store.hello?.states ?? [];
  const sort = parameters().sort ?? "name";
  const compare = order(sort, states);
  const wanted = [];
  for (const account of store.accounts.values()) if (matches(account, filter)) wanted.push(account);
  const same = wanted.length === names.length && names.every((name) => {
    const account = store.accounts.get(name);
    return account !== undefined && matches(account, filter);
  });
  const since = performance.now() - sortedAt;
  if (same && sort === "name") return;
  if (same && since < RESORT_MS) {
    resort ??= setTimeout(() => { resort = null; compute(); }, RESORT_MS - since);
    return;
  }
  sortedAt = performance.now();
  wanted.sort(compare);
  const now = wanted.map((account) => account.name);
  if (now.length === names.length && now.every((name, index) => name === names[index])) return;
  names = now;
  store.tell("shown", names);
}

let writing = null;
function tellSelection() {
  store.tell("selection", selection);
  // Browsers count how often an address is changed.
  clearTimeout(writing);
  writing = setTimeout(() => {
    const all = [...selection].join(",");
    go({ selected: all.length > LONGEST_SELECTION ? "" : all });
  }, 300);
}
