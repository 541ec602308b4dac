// One account, whole: why it is as it is, what comes next, what can be done, what happened, and its settings.
// No texts of messages: the page has none.

import { ACTS, command, consequence, fits, run } from "./acts.js";
import { account as path, get, ofPage } from "./api.js";
import { needOf, toneOf, wordsOf } from "./attention.js";
import { copyButton, line, sentence } from "./command.js";
import { ask } from "./dialog.js";
import { fill, h, text } from "./dom.js";
import { icon } from "./icons.js";
import { keyed } from "./keyed.js";
import * as repair from "./repair.js";
import { go, onChange, parameters } from "./router.js";
import { store } from "./store.js";
import * as strips from "./strips.js";
import { age, capital, count, moment, size, tone, until } from "./words.js";

/** Entries of the timeline at first, and after "more". */
const FEW = 20;
const MANY = 500;
/** How long changes of the account are gathered before it is asked for again. */
const GATHER_MS = 250;
/** How old the answer may become while somebody looks: usage and messages change without a change of state. */
const FRESH_SECONDS = 15;

let place;
let panel = null;
let before = null;

/** Build this part of the page. */
export function mount(where) {
  place = where;
  onChange(follow);
  store.on("session", follow);
  store.on("accounts", ({ changed, gone, all }) => {
    if (panel && (all || changed.has(panel.name) || gone.has(panel.name))) panel.row();
  });
  store.on("tick", () => panel?.tick());
}

function follow() {
  const name = store.session === null ? undefined : parameters().account;
  if (name === panel?.name) return;
  const was = panel;
  was?.end();
  panel = null;
  if (!name) {
    place.hidden = true;
    fill(place);
    if (was && before?.isConnected) before.focus({ preventScroll: true });
    before = null;
    return;
  }
  // Whoever goes through the table with the details beside it stays in the table.
  const takes = !was || place.contains(document.activeElement);
  if (!was) before = document.activeElement;
  panel = open(name);
  place.hidden = false;
  if (takes) panel.heading.focus({ preventScroll: true });
}

const leave = () => go({ account: "" }, true);

function open(name) {
  let over = false;
  let found = null;
  let asked = 0;
  let waits = null;
  let turns = 0;
  let shown = 0;
  let entries = FEW;
  let shape = "";

  const heading = h("h2", { tabindex: "-1" }, name);
  const chip = h("span.state", {});
  const since = h("span.soft", {});
  const cross = h("button.plain.square", {
    type: "button", "aria-label": "Close the details", title: "Close (Esc)", on: { click: leave },
  }, icon("close"));
  const need = h("p.details-need", { hidden: true });
  const why = h("dl.pairs", {});
  const acts = h("div.details-acts", {});
  const problem = h("p.problem", { role: "alert", hidden: true });
  const usage = h("dl.pairs", {});
  const strip = strips.make();
  const day = h("div.details-strip", {}, strip.element);
  const timeline = h("ol.timeline", {});
  const quiet = h("p.soft", { hidden: true }, "Nothing has happened yet.");
  const more = h("button.plain", {
    type: "button", hidden: true, on: { click: () => { entries = MANY; refresh(); } },
  }, "Show more");
  const end = h("dl.pairs", {});
  const endPart = part("Last end of its process", end);
  const settings = settingsPart(name);
  const body = h("div.details-body", {},
    need, why, acts, problem, part("Now", usage), endPart, part("Timeline", day, timeline, quiet, more), settings.element);
  fill(place, h("header.details-head", {}, h("div.details-title", {}, heading, chip, since), cross), body);
  body.scrollTop = 0;
  const syncTimeline = keyed(timeline, makeEntry);
  endPart.hidden = true;

  async function refresh() {
    waits = null;
    asked = store.now();
    const turn = ++turns;
    try {
      const answer = await get(path(name, `?entries=${entries}`));
      // Answers may come in another order than they were asked for: an older one shows nothing new.
      if (over || turn < shown) return;
      shown = turn;
      found = answer;
      show();
    } catch (error) {
      if (over || turn < shown) return;
      tell(error);
      if (error.key === "no_such_account") gone();
    }
  }
  function soon() {
    waits ??= setTimeout(refresh, GATHER_MS);
  }
  function tell(error) {
    text(problem, error.message);
    problem.hidden = false;
  }
  function gone() {
    text(chip, "gone");
    chip.className = "state tone-off";
    text(since, "");
    need.hidden = true;
    fill(acts);
    fill(why, fact("because", "There is no account of this name, or not for who is logged in."));
  }
  function row() {
    const account = store.accounts.get(name);
    if (!account) {
      if (store.hello !== null) gone();
      return;
    }
    text(chip, account.state);
    chip.className = `state tone-${tone(account.state)}`;
    ages(account);
    strip.show(account);
    showActs(account);
    const now = needOf(account);
    // What `explain` advises is below, and says the same of most needs.
    need.hidden = now === null || (found?.outlook.advice ?? []).some((one) => one.startsWith(now.sentence));
    if (now) {
      need.className = `details-need tone-${toneOf(now.kind)}`;
      fill(need, h("strong", {}, capital(wordsOf(now.kind))), " · ", sentence(now.sentence));
    }
    const wanted = [account.state, account.since, account.reason, account.next_at, account.attempt, account.held,
      account.restricted, account.unlinks_at, account.lost].join("\n");
    if (wanted !== shape) {
      shape = wanted;
      soon();
    }
  }
  function ages(account) {
    text(since, account.since ? `for ${age(account.since, store.now())}` : "");
    since.title = moment(account.since);
  }
  function show() {
    const { account, outlook } = found;
    row();
    const advice = (outlook.advice ?? []).map((one) => h("li", {}, sentence(capital(one))));
    const at = seconds(outlook.at);
    const lost = account.cause; // why it has no session any more
    fill(why,
      fact("because", account.reason && sentence(capital(account.reason))),
      fact("session lost", lost && [sentence(capital(lost.reason ?? lost.kind)), h("span.soft", {}, ` (${moment(seconds(lost.at))})`)]),
      fact("attempt", account.attempt ? `${account.attempt} in a row` : null),
      fact("next", [sentence(capital(outlook.next)), at ? h("span.soft", {}, ` (${until(at, store.now())}, at ${moment(at)})`) : null]),
      fact("you can", advice.length ? h("ul.advice", {}, advice) : null));
    const known = store.accounts.get(name);
    fill(usage,
      fact("phone", account.phone),
      fact("machine", account.shard),
      fact("same phone", account.same_phone?.length ? `${account.same_phone.join(", ")} ${account.same_phone.length === 1 ? "is" : "are"} linked to it, too` : null),
      fact("process", account.pid && [account.pid, account.isolation ? h("span.soft", {}, `, isolation: ${account.isolation}`) : null]),
      fact("memory", account.memory_bytes && size(account.memory_bytes)),
      fact("CPU time", account.cpu_s !== null && account.cpu_s !== undefined ? `${account.cpu_s.toFixed(1)} s` : null),
      fact("open files", account.open_files),
      fact("threads", account.threads),
      fact("proxy", account.proxy ?? known?.proxy),
      fact("note", account.note),
      fact("tags", (account.tags ?? known?.tags ?? []).map((tag) => h("span.tag", {}, tag))),
      fact("messages", [
        account.stored !== null && account.stored !== undefined ? `${count(account.stored, "entry", "entries")} stored` : null,
        account.waiting ? `${account.waiting} wait for a consumer` : null,
        account.lost ? `${account.lost} lost` : null,
        account.refused ? `${account.refused} came in and are not allowed` : null,
      ].filter(Boolean).join(", ")),
      fact("outbox", [
        account.queued ? `${count(account.queued, "message")} to send` : null,
        account.restricted === "all" ? "restricted" : account.restricted === "new" ? "no messages to new chats" : null,
        account.restricted_until ? `until ${moment(seconds(account.restricted_until))}` : null,
      ].filter(Boolean).join(", ")),
      fact("last heard", account.last_seen_at && `WhatsApp, ${age(seconds(account.last_seen_at), store.now())} ago`),
      fact("its phone", account.phone_seen_at && `last sign ${age(seconds(account.phone_seen_at), store.now())} ago`),
      fact("restarts", account.restarts || null));
    const exit = account.last_exit;
    endPart.hidden = !exit;
    if (exit) {
      const file = exit.traceback?.split("/").pop();
      fill(end,
        fact("when", exit.at && moment(seconds(exit.at))),
        fact("kind", exit.kind && exit.kind.replaceAll("_", " ")),
        fact("exit code", exit.code),
        fact("traceback", file && [h("code", { title: exit.traceback }, file), copyButton(line("less", exit.traceback))]));
    }
    const listed = [...found.timeline].reverse();
    syncTimeline(listed.map((entry, index) => [`${entry.n ?? entry.at}-${entry.n === undefined ? index : ""}`, entry]));
    more.hidden = entries !== FEW || listed.length < FEW;
    quiet.hidden = listed.length > 0;
  }
  function showActs(account) {
    const may = store.may("operate");
    const wanted = [account.state, may, needOf(account)?.action].join();
    if (acts.dataset.wanted === wanted) return;
    acts.dataset.wanted = wanted;
    const held = acts.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    const codes = account.state === "pairing" || needOf(account)?.action === "scan";
    fill(acts,
      may && codes ? pair("code", h("button.primary", { type: "button", data: { act: "code" }, on: { click: () => repair.showCode(name) } }, "Show code"), command("qr", name)) : null,
      Object.keys(ACTS).filter((act) => fits(act, account)).map((act) => pair(act, may ? h("button", {
        type: "button", data: { act }, on: { click: () => act === "repair" ? repair.pairAgain(account) : order(act, account) },
      }, icon(act), act === "repair" ? `${ACTS.repair.label}…` : ACTS[act].label) : null, command(act, name), ACTS[act].label)),
      pair("explain", null, command("explain", name), "Explain"));
    if (held) acts.querySelector(`[data-act="${held}"]`)?.focus();
  }
  async function order(act, account) {
    if (act !== "start" || account.state === "replaced") {
      const sure = await ask({
        title: `${ACTS[act].label} ${name}?`, body: consequence(act, account), act: ACTS[act].label, danger: ACTS[act].danger,
        more: h("p.command", {}, h("code", {}, command(act, name)), copyButton(command(act, name))),
      });
      if (!sure || over) return;
    }
    problem.hidden = true;
    const button = acts.querySelector(`[data-act="${act}"]`);
    if (button) button.disabled = true;
    try {
      await run(act, name);
    } catch (error) {
      if (!over) tell(error);
    }
    if (button) button.disabled = false;
    if (!over) soon();
  }
  const opened = { name, heading, row,
    tick() {
      const account = store.accounts.get(name);
      if (account) {
        ages(account);
        strip.show(account);
      }
      if (store.now() - asked > FRESH_SECONDS && store.connection === "open") { asked = store.now(); soon(); }
    },
    end() { over = true; clearTimeout(waits); settings.end(); },
  };
  row();
  if (!shape) soon();
  return opened;
}

function settingsPart(name) {
  let over = false;
  let loaded = false;
  const own = h("input", { type: "checkbox", on: { change: () => filter() } });
  const find = h("input", { type: "search", placeholder: "Find a setting", "aria-label": "Find a setting", on: { input: () => filter() } });
  const rows = h("tbody", {});
  const state = h("p.soft", { role: "status" }, "…");
  const table = h("table.data.settings", {}, h("thead", {}, h("tr", {},
    h("th", { scope: "col" }, "Key"), h("th", { scope: "col" }, "Value"), h("th", { scope: "col" }, "From"))), rows);
  const tools = h("div.settings-tools", {}, find, h("label.check", {}, own, h("span", {}, "Only what is configured")));
  const element = h("details.details-part", { on: { toggle: () => { if (element.open && !loaded) load(); } } },
    h("summary", {}, h("h3", {}, "Settings in force")), tools, state, table, h("p.command", {},
      h("code", {}, command("config", "show", name)), copyButton(command("config", "show", name))));
  tools.hidden = table.hidden = true;

  async function load() {
    loaded = true;
    try {
      const { settings } = await get(ofPage(name, "/settings"));
      if (over) return;
      fill(rows, settings.map(({ key, value, origin }) => h("tr", { data: { key, origin } },
        h("th", { scope: "row" }, h("code", {}, key)), h("td.mono", {}, words(value)),
        h("td", {}, h("span.origin", { data: { origin } }, origin)))));
      tools.hidden = table.hidden = false;
      filter();
    } catch (error) {
      loaded = false;
      if (!over) text(state, error.message);
    }
  }
  function filter() {
    const wanted = find.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows.children) {
      row.hidden = (own.checked && row.dataset.origin === "built-in") || !row.dataset.key.includes(wanted);
      if (!row.hidden) shown += 1;
    }
    text(state, shown ? "" : "No such setting.");
    state.hidden = shown > 0;
  }
  return { element, end() { over = true; } };
}

function part(title, ...children) {
  return h("section.details-part", {}, h("h3", {}, title), children);
}

// A button, and beside it the one that copies the command that does the same.
function pair(act, button, words, label = null) {
  if (!button) return h("span.act", {}, copyButton(words, `Copy: ${label.toLowerCase()}`));
  return h("span.act", { data: { of: act } }, button, copyButton(words));
}

function fact(label, value) {
  if (value === null || value === undefined || value === "" || value === false || (Array.isArray(value) && !value.length)) return null;
  return [h("dt", {}, label), h("dd", {}, value)];
}

// As `orchestrator explain` has it: why something happened, and who wanted it.
function caused({ reason, by }) {
  if (!by) return reason;
  if (reason === "stopped by an operator") return `stopped by ${by}`;
  return reason ? `${reason}, by ${by}` : `by ${by}`;
}

function makeEntry() {
  const when = h("time", {});
  const change = h("span.change", {});
  const reason = h("p", {});
  return {
    element: h("li", {}, when, change, reason),
    update(entry) {
      const at = seconds(entry.at);
      when.setAttribute("datetime", entry.at);
      text(when, moment(at));
      if (change.dataset.to !== entry.to) {
        change.dataset.to = entry.to;
        fill(change, entry.from && entry.from !== entry.to ? [h("span.soft", {}, entry.from), h("span.soft", { "aria-label": "then" }, " → ")] : null,
          h("span.state", {}, entry.to));
        change.lastElementChild.classList.add(`tone-${tone(entry.to)}`);
      }
      const words = [caused(entry),
        entry.delay !== null && entry.delay !== undefined ? `${entry.event === "restricted" ? "for" : "next try after"} ${Math.round(entry.delay)} s` : null,
        entry.others ? `with ${count(entry.others, "other account")}` : null].filter(Boolean).join("; ");
      if (reason.dataset.words !== words) {
        reason.dataset.words = words;
        fill(reason, sentence(words));
      }
      reason.hidden = !words;
    },
  };
}

function words(value) {
  if (value === null || value === undefined) return "null";
  return typeof value === "string" ? value : JSON.stringify(value);
}

const seconds = (iso) => (iso ? Date.parse(iso) / 1000 : null);
