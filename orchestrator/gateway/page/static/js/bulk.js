// Acts on many accounts: on those that are selected, or on all that the filter shows. First a dialog says what
// will happen; then it shows how each of them fares.

import { ACTS, command, plan, run } from "./acts.js";
import { copyButton } from "./command.js";
import { show } from "./dialog.js";
import { announce, fill, h, text } from "./dom.js";
import { narrows } from "./filter.js";
import { icon } from "./icons.js";
import { keyed } from "./keyed.js";
import * as list from "./list.js";
import { eachOf } from "./paced.js";
import { store } from "./store.js";
import { count, span, tone } from "./words.js";

/** The command is offered to be copied as long as a shell takes it well. */
const LONGEST_COMMAND = 4000;
/** Names that are listed of those that are left out. */
const MOST_LEFT_OUT = 12;
const GATHER_MS = 60;
const NOT_NOW = new Set(["service_busy", "too_many_requests"]);
/** How often the gateway may say "not now" to one request before its account counts as failed. */
const TRIES = 5;
/** States in which an account is for the time being where the act was to bring it. */
const SETTLED = new Set(["connected", "pairing", "stopped", "failed", "banned", "replaced", "outdated", "disabled"]);
const BAD = new Set(["failed", "banned", "replaced", "outdated"]);

/** What is under way: its words, whether it is over, and how it is shown and stopped. */
const jobs = new Set();
let tellJobs = () => {};

/** Build this part of the page: the bar above the table. */
export function mount(place) {
  const words = h("strong", {});
  const buttons = Object.keys(ACTS).map((act) => h("button", {
    type: "button", data: { act }, on: { click: () => propose(act, targets()) },
  }, icon(act), `${ACTS[act].label}…`));
  const clear = h("button.plain", { type: "button", on: { click: () => list.selectAll(false) } }, "Clear");
  const all = h("button.plain", { type: "button", on: { click: () => list.selectAll(true) } });
  const bar = h("div.bulk", { role: "group", "aria-label": "Act on several accounts" }, words, buttons, h("span.grow"), all, clear);
  const running = h("div.bulk-jobs", {});
  const syncJobs = keyed(running, makeJob);
  const numbers = new WeakMap();
  fill(place, running, bar);
  addEventListener("beforeunload", (event) => { if ([...jobs].some(({ over }) => !over)) event.preventDefault(); });

  // What is selected counts. Without a selection, a filter is one.
  function targets() {
    const selected = list.selected();
    return list.shown().filter((name) => selected.has(name)).concat([...selected].filter((name) => !shownSet().has(name)))
      .concat(selected.size ? [] : list.shown());
  }
  function shownSet() {
    return new Set(list.shown());
  }
  function numberOf(job) {
    if (!numbers.has(job)) numbers.set(job, String(Math.random()));
    return numbers.get(job);
  }
  function patch() {
    const selected = list.selected().size;
    const shown = list.shown().length;
    const filtered = narrows(list.current()) && shown > 0;
    bar.hidden = !store.may("operate") || (!selected && !filtered);
    syncJobs([...jobs].map((job) => [numberOf(job), job]));
    place.hidden = bar.hidden && !jobs.size;
    if (bar.hidden) return;
    bar.classList.toggle("selected", selected > 0);
    text(words, selected ? `${selected.toLocaleString("en-US")} selected` : `All ${shown.toLocaleString("en-US")} shown`);
    text(all, `Select all ${shown.toLocaleString("en-US")}`);
    all.hidden = !selected || selected >= shown;
    clear.hidden = !selected;
  }
  for (const kind of ["selection", "shown", "session"]) store.on(kind, patch);
  tellJobs = patch;
  patch();
}

/**
 * Ask whether an act is to be done to accounts, and do it.
 * @param {string} act One of `ACTS`.
 * @param {string[]} names
 */
export function propose(act, names) {
  const accounts = names.map((name) => store.accounts.get(name)).filter(Boolean);
  const parallel = Math.max(1, store.hello?.parallel ?? 2);
  const found = plan(act, accounts, { parallel });
  const number = found.names.length;
  const lost = act === "repair" ? accounts.filter((one) => one.state === "connected").length : 0;
  const sure = h("input", { type: "checkbox", on: { change: () => { yes.disabled = !sure.checked; } } });
  const no = h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel");
  const yes = h(ACTS[act].danger ? "button.danger" : "button.primary", {
    type: "button", disabled: number === 0 || lost > 0, on: { click: () => carryOut(dialog, act, found.names, parallel) },
  }, number ? `${ACTS[act].label}: ${count(number, "account")}` : ACTS[act].label);
  const words = command(act, ...found.names);
  const dialog = show({
    title: `${ACTS[act].label} ${count(accounts.length, "account")}?`,
    body: [
      h("ul.plan", {}, found.lines.map((line) => h("li", {}, line))),
      found.left.map(({ why, names: some }) => h("details.left-out", {},
        h("summary", {}, `Left out, ${why}: ${count(some.length, "account")}`),
        h("p.mono", {}, some.slice(0, MOST_LEFT_OUT).join(", "), some.length > MOST_LEFT_OUT ? ` and ${some.length - MOST_LEFT_OUT} others` : ""))),
      lost ? h("label.check", {}, sure, h("span", {}, `Disconnect ${count(lost, "account")} that ${lost === 1 ? "works" : "work"}: I have ${lost === 1 ? "its phone" : "their phones"}`)) : null,
    ],
    buttons: [act !== "repair" && number && words.length <= LONGEST_COMMAND ? copyButton(words, "Copy as command") : null, h("span.grow"), no, yes].filter(Boolean),
    focus: ACTS[act].danger || number === 0 ? no : yes,
  });
  return dialog;
}

/**
 * Do an act to accounts, and show how each fares. The dialog may be closed: the bar above the table then says how
 * far it is.
 * @param {Object} dialog The one that asked. It shows the results from now on.
 * @param {string} act
 * @param {string[]} names
 * @param {number} parallel How many requests at a time.
 */
function carryOut(dialog, act, names, parallel) {
  const began = store.now();
  const fates = new Map(names.map((name) => [name, { name, is: "waits", why: null }]));
  const head = h("p.bulk-words", { role: "status", "aria-live": "polite" });
  const bar = h("progress", { max: names.length, value: 0, "aria-label": "Accounts that are done" });
  const onlyBad = h("input", { type: "checkbox", on: { change: () => paint() } });
  const filterLine = h("label.check", {}, onlyBad, h("span", {}, "Only those with trouble"));
  const results = h("ul.bulk-results", { tabindex: "0", "aria-label": "Result of each account" });
  const sync = keyed(results, makeResult);
  const stop = h("button.danger", { type: "button", on: { click: halt } }, "Stop here");
  const again = h("button", { type: "button", hidden: true, on: { click: retry } }, "Try the rest again");
  const close = h("button", { type: "button", on: { click: () => dialog.close() } }, "Close");
  const job = { words: "", over: false, open, halt };
  filterLine.hidden = names.length < 10;
  let ended = false;
  let waits = null;
  let took = null;
  const soon = () => { waits ??= setTimeout(() => { waits = null; paint(); }, GATHER_MS); };
  const stops = [
    store.on("accounts", ({ changed, all }) => { if (all || names.some((name) => changed.has(name))) soon(); }),
    store.on("tick", soon),
    store.on("session", (session) => { if (session === null) { pool.stop(); remove(); } }),
  ];
  let pool = begin(names);
  jobs.add(job);
  fillDialog();

  function begin(some) {
    const mine = eachOf(some, parallel, (name) => patiently(act, name), (name, is, what) => {
      const fate = fates.get(name);
      if (is === "asked") fate.before = store.accounts.get(name);
      Object.assign(fate, { is, why: is === "failed" ? what.message : null });
      soon();
    });
    mine.over.then(() => { ended = true; soon(); });
    return mine;
  }
  function halt() {
    for (const name of pool.stop()) fates.get(name).is = "left";
    stop.disabled = true;
    soon();
  }
  function retry() {
    const rest = [...fates.values()].filter(({ is }) => is === "failed" || is === "left").map(({ name }) => name);
    for (const name of rest) Object.assign(fates.get(name), { is: "waits", why: null });
    ended = job.over = stop.disabled = false;
    took = null;
    pool = begin(rest);
    paint();
  }
  function open() {
    dialog = show({ title: "", body: [] });
    fillDialog();
  }
  function fillDialog() {
    dialog.set([head, bar, filterLine, results], [again, h("span.grow"), stop, close]);
    paint();
    results.focus();
    dialog.closed.then(() => { if (job.over) remove(); });
  }
  function remove() {
    clearTimeout(waits);
    for (const one of stops.splice(0)) one();
    jobs.delete(job);
    tellJobs();
  }
  function paint() {
    const all = [...fates.values()];
    const counts = { there: 0, bad: 0, left: 0 };
    for (const fate of all) {
      fate.account = store.accounts.get(fate.name);
      fate.there = fate.is === "done" && isThere(act, fate.account, fate.before);
      fate.bad = fate.is === "failed" || (fate.there && act !== "stop" && BAD.has(fate.account.state));
      if (fate.bad) counts.bad += 1;
      else if (fate.is === "left") counts.left += 1;
      else if (fate.there) counts.there += 1;
    }
    bar.value = counts.there + counts.bad + counts.left;
    const over = ended && bar.value === all.length;
    if (over && took === null) {
      took = store.now() - began;
      announce(`${counts.there} of ${count(all.length, "account")} ${ACTS[act].done}`);
    }
    job.over = over;
    job.words = [
      `${counts.there} of ${count(all.length, "account")} ${ACTS[act].done}`,
      counts.bad ? `${counts.bad} with trouble` : null,
      counts.left ? `${counts.left} left as they were` : null,
    ].filter(Boolean).join(" · ");
    text(head, `${job.words} · ${over ? "took " : ""}${span(took ?? store.now() - began)}`);
    head.classList.toggle("over", over);
    stop.hidden = ended;
    again.hidden = !ended || !all.some(({ is }) => is === "failed" || is === "left");
    if (dialog.element.open) {
      dialog.retitle(`${over ? ACTS[act].label : ACTS[act].doing}: ${count(all.length, "account")}`);
      sync(all.filter((fate) => !onlyBad.checked || fate.bad).map((fate) => [fate.name, fate]));
    }
    tellJobs();
  }
}

// An act fails at once where the gateway says no. "Not now" is no answer: the request is sent again after a moment.
async function patiently(act, name) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run(act, name);
    } catch (error) {
      if (!NOT_NOW.has(error.key) || attempt >= TRIES) throw error;
      await new Promise((resolve) => { setTimeout(resolve, 1000 * attempt); });
    }
  }
}

/**
 * Tell whether an account is where an act was to bring it. The service takes an order at once, and carries it out when it
 * is the account's turn: until then, the account is as it was before.
 */
export function isThere(act, account, before) {
  if (!account) return false;
  if (act === "stop") return account.state === "stopped";
  if (!SETTLED.has(account.state)) return false;
  if (act === "start" && account.state === "connected") return true;
  // An account that shows a code already goes on with it.
  if (act === "repair" && account.state === "pairing") return true;
  // Nor does a restart change one that waits, without a process, until somebody looks at its code.
  if (act === "restart" && isUnseen(account) && before && isUnseen(before)) return true;
  return account.state !== before?.state || account.since !== before.since;
}

const isUnseen = ({ state, code_until: code, memory }) => state === "pairing" && code === null && memory === null;

function makeJob(first) {
  let job = first;
  const words = h("strong", {});
  const stop = h("button.danger", { type: "button", on: { click: () => job.halt() } }, "Stop here");
  const element = h("div.bulk.selected", { role: "status" }, words, h("span.grow"),
    h("button", { type: "button", on: { click: () => job.open() } }, "Show"), stop);
  return {
    element,
    update(now) {
      job = now;
      text(words, now.words);
      stop.hidden = now.over;
    },
  };
}

function makeResult() {
  const name = h("span.bulk-name", {});
  const is = h("span.bulk-is", {});
  const why = h("span.soft.bulk-why", {});
  const element = h("li", {}, name, is, why);
  let shape = "";
  return {
    element,
    update(fate) {
      const state = fate.account?.state ?? "gone";
      const now = [fate.is, state, fate.why, fate.there, fate.account?.reason].join("\n");
      if (now === shape) return;
      shape = now;
      text(name, fate.name);
      fill(is, mark(fate, state));
      text(why, fate.why ?? (fate.bad ? fate.account?.reason ?? "" : ""));
      element.classList.toggle("bad", Boolean(fate.bad));
    },
  };
}

function mark(fate, state) {
  switch (fate.is) {
    case "waits": return h("span.soft", {}, "waits");
    case "asked": return h("span.soft", {}, "asks…");
    case "left": return h("span.chip.tone-off", {}, "left as it was");
    case "failed": return h("span.chip.tone-bad", {}, "refused");
    default: return [fate.there ? h("span.bulk-there", { "aria-hidden": "true" }, fate.bad ? "!" : "✓") : null, h(`span.chip.tone-${tone(state)}`, {}, state)];
  }
}
