// Follows the gateway: decodes what it tells, and connects again when the stream breaks.

import { ended, get } from "./api.js";
import { store } from "./store.js";

/** The gateway says "ping" every 15 seconds: after three that did not come, the stream is dead. */
const QUIET_SECONDS = 45;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

let source = null;
let waiting = null;
let tries = 0;
let heardAt = 0;
let wanted = false;
let fields = [];

/** Follow the gateway, until `close`. */
export function open() {
  if (wanted) return;
  wanted = true;
  tries = 0;
  connect();
}

/** Follow it no longer, and forget what it told: the next person may see less. */
export function close() {
  wanted = false;
  drop();
  const gone = new Set(store.accounts.keys());
  store.accounts.clear();
  store.consumers = [];
  store.facts = null;
  store.hello = null;
  store.tell("accounts", { changed: new Set(), gone, all: true });
  store.tell("consumers", store.consumers);
  store.tell("facts", store.facts);
}

/** Make an account of a row: the values of a row are in the order of the fields. */
export function decode(names, row) {
  const account = {};
  for (let at = 0; at < names.length; at += 1) account[names[at]] = row[at] ?? null;
  return account;
}

/**
 * Bring the accounts up to date with an event.
 * @param {Map<string, Object>} accounts Changed in place.
 * @param {string[]} names The fields of a row.
 * @param {{rows?: Array[], gone?: string[], all?: boolean}} event With `all`, accounts without a row are gone.
 * @returns {{changed: Set<string>, gone: Set<string>, all: boolean}}
 */
export function apply(accounts, names, event) {
  const changed = new Set();
  const gone = new Set();
  for (const row of event.rows ?? []) {
    const account = decode(names, row);
    accounts.set(account.name, account);
    changed.add(account.name);
  }
  const leaving = event.all ? [...accounts.keys()].filter((name) => !changed.has(name)) : event.gone ?? [];
  for (const name of leaving) if (accounts.delete(name)) gone.add(name);
  return { changed, gone, all: Boolean(event.all) };
}

const told = {
  hello(event) {
    fields = event.fields;
    store.hello = event;
    setClock(event.now);
    tries = 0;
    say("open");
    store.tell("hello", event);
  },
  accounts(event) {
    store.tell("accounts", apply(store.accounts, fields, event));
  },
  consumers(event) {
    store.consumers = event.consumers;
    store.tell("consumers", store.consumers);
  },
  facts(event) {
    store.facts = event;
    store.tell("facts", event);
  },
  ping(event) {
    setClock(event.now);
  },
};

function connect() {
  say("connecting");
  heardAt = performance.now();
  source = new EventSource("/page/stream");
  for (const [kind, listener] of Object.entries(told)) {
    source.addEventListener(kind, ({ data }) => {
      heardAt = performance.now();
      listener(JSON.parse(data));
    });
  }
  source.addEventListener("error", broken);
}

function drop() {
  clearTimeout(waiting);
  waiting = null;
  source?.close();
  source = null;
}

function broken() {
  drop();
  if (!wanted) return;
  say("broken");
  // All pages of a gateway that restarts come back at the same time: a random part spreads them.
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries) * (0.75 + Math.random() / 2);
  tries += 1;
  waiting = setTimeout(again, wait);
}

/** An `EventSource` does not tell why it was refused, so the page asks first whether the session still is. */
async function again() {
  waiting = null;
  let session = null;
  try {
    session = await get("/page/session");
  } catch (problem) {
    if (!wanted || source !== null || waiting !== null) return;
    if (problem.status === 401) ended.call();
    else broken();
    return;
  }
  if (!wanted || source !== null || waiting !== null) return;
  if (session === null) ended.call();
  else connect();
}

function say(connection) {
  if (store.connection === connection) return;
  store.connection = connection;
  store.tell("connection", connection);
}

/** The clock of the gateway counts: an operator's may be wrong. Small differences are the way here. */
function setClock(now) {
  const ahead = now - Date.now() / 1000;
  if (Math.abs(ahead - store.ahead) > 2) store.ahead = ahead;
}

store.on("tick", () => {
  if (source !== null && performance.now() - heardAt > QUIET_SECONDS * 1000) broken();
});

/** Somebody looks again, or the network is back: no need to wait any longer. */
function hurry() {
  if (!wanted || document.hidden || waiting === null) return;
  clearTimeout(waiting);
  waiting = null;
  tries = 0;
  void again();
}

document.addEventListener("visibilitychange", hurry);
addEventListener("online", hurry);
