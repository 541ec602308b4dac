// Sending: what waits in the outboxes, what may go now, and what WhatsApp takes nothing of.

import { get, ofPage, post } from "./api.js";
import { commandLine, line } from "./command.js";
import { ask } from "./dialog.js";
import { announce, fill, h, text } from "./dom.js";
import { icon } from "./icons.js";
import { keyed } from "./keyed.js";
import { meter } from "./meter.js";
import { patch } from "./patch.js";
import { go, onChange, parameters, view } from "./router.js";
import { store } from "./store.js";
import { age, byName, count, moment, span, tone, until } from "./words.js";

/** How often the account that is shown is asked for again. */
const FRESH_SECONDS = 5;
/** Accounts that are listed; the search finds the others. */
const MOST = 200;
const PACES = {
  reply: ["Replies", "Chats that wrote within the last day. Nothing keeps these waiting."],
  known: ["To known chats", "Chats with which there was an exchange before."],
  new: ["To new chats", "Chats with which there was none: the account takes its time, and begins only so many a day."],
};
const OFF = new Set(["good", "off"]);
const LOCKS = { all: "messages", new: "messages to people it does not know" };

let seenNow = false;

/** Build this part of the page. */
export function mount(place) {
  const sum = h("p.soft", {});
  const search = h("input", {
    type: "search", placeholder: "Find an account", "aria-label": "Find an account", autocomplete: "off", autocapitalize: "off",
    spellcheck: "false", maxlength: "100", on: { input: () => show() },
  });
  const list = h("ul.outboxes", { "aria-label": "Accounts" });
  const none = h("p.soft.outboxes-none", {});
  const side = h("section.card.outbox", { "aria-label": "Sending of an account" });
  fill(place, h("header.view-head", {}, h("h2", {}, "Sending"), sum),
    h("div.sending", {}, h("div.outboxes-side", {}, h("div.outboxes-search", {}, icon("search"), search), none, list), side));
  const sync = keyed(list, () => makeEntry((name) => {
    go({ of: name });
    // On a phone, the account is below the list.
    if (matchMedia("(max-width: 800px)").matches) side.scrollIntoView({ block: "start" });
  }));
  const panel = makePanel(side);
  let first = null;

  function show() {
    if (view() !== "sending") return;
    const wanted = search.value.trim().toLowerCase();
    const found = listed([...store.accounts.values()], wanted);
    text(sum, summary([...store.accounts.values()]));
    text(none, found.length ? "" : wanted ? "No account is called so." : "Nothing waits, and no account is locked.");
    // Until somebody chooses, the one that was first stays, also when another account gets ahead of it in the list.
    if (!found.some((one) => one.name === first)) first = found[0]?.name ?? null;
    const chosen = parameters().of ?? first;
    sync(found.slice(0, MOST).map((one) => [one.name, { one, chosen: one.name === chosen }]));
    panel.choose(store.accounts.has(chosen) ? chosen : null);
  }
  let waits = null;
  const soon = () => { waits ??= setTimeout(() => { waits = null; show(); }, 250); };
  store.on("accounts", soon);
  store.on("tick", () => { if (view() === "sending") { soon(); panel.tick(); } });
  store.on("session", (session) => { if (session === null) panel.choose(null); });
  onChange(show);
  show();
}

/** Ask for what the stream does not tell only while somebody looks. */
export function seen(isSeen) {
  seenNow = isSeen;
}

/** What is sent, in one line. */
export function summary(accounts) {
  const queued = accounts.reduce((sum, one) => sum + (one.queued ?? 0), 0);
  const locked = accounts.filter((one) => one.restricted).length;
  const parts = [queued ? `${count(queued, "message")} waiting` : "Nothing waits"];
  if (locked) parts.push(`${count(locked, "account")} may not send everything`);
  return parts.join(" · ");
}

/** The accounts that are listed: those that are locked first, then those with the most that waits. */
export function listed(accounts, wanted) {
  const found = accounts.filter((one) => (wanted ? one.name.toLowerCase().includes(wanted) : one.restricted || one.queued));
  return found.sort((a, b) => lock(b) - lock(a) || (b.queued ?? 0) - (a.queued ?? 0)
    || byName(a.name, b.name));
}

const lock = ({ restricted }) => ({ all: 2, new: 1 })[restricted] ?? 0;

function makeEntry(choose) {
  const name = h("b", {});
  const queued = h("span.outboxes-number", {});
  const words = h("span.outboxes-words.soft", {});
  const button = h("button.plain", { type: "button" }, name, queued, words);
  const element = h("li", {}, button);
  let account;
  button.addEventListener("click", () => choose(account));
  function update({ one, chosen }) {
    account = one.name;
    text(name, one.name);
    text(queued, one.queued ? one.queued.toLocaleString("en-US") : "-");
    const locked = one.restricted
      ? `locked${one.restricted_until ? ` for ${span(Math.max(0, one.restricted_until - store.now()))}` : ""}`
      : one.state === "connected" ? `last sent ${one.last_out ? `${age(one.last_out, store.now())} ago` : "never"}` : one.state;
    text(words, locked);
    words.className = `outboxes-words ${one.restricted ? "is-bad" : OFF.has(tone(one.state)) ? "soft" : `is-${tone(one.state)}`}`;
    if (chosen) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  return { element, update };
}

function makePanel(place) {
  const name = h("h2", {});
  const state = h("span.state", {});
  const test = h("button", { type: "button", on: { click: () => send() } }, icon("sending"), "Test message…");
  const answer = h("p.flow-answer", { role: "status" });
  const body = h("div.stack.outbox-body", {});
  const same = h("div.outbox-same", {});
  const problem = h("p.problem", { role: "alert", hidden: true });
  const head = h("header", {}, name, state, test);
  const nothing = h("p.empty", {}, "Choose an account to see what it sends.");
  fill(place, nothing, head, answer, problem, body, same);
  let account = null;
  let found = null;
  let askedAt = 0;
  let asking = false;

  function choose(wanted) {
    nothing.hidden = wanted !== null;
    head.hidden = wanted === null;
    if (wanted !== account) {
      account = wanted;
      found = null;
      askedAt = 0;
      problem.hidden = true;
      fill(answer);
      fill(body);
      fill(same, wanted === null ? null : [h("h3", {}, "On the command line"), commandLine(line("orchestrator", "outbox", wanted))]);
      tick();
    }
    paint();
  }

  function tick() {
    if (account !== null && seenNow && !asking && Date.now() - askedAt >= FRESH_SECONDS * 1000) ask_();
    else paint();
  }

  async function ask_() {
    const wanted = account;
    asking = true;
    askedAt = Date.now();
    try {
      const told = await get(ofPage(wanted, "/sending"));
      if (wanted === account) {
        found = told;
        problem.hidden = true;
      }
    } catch (error) {
      if (wanted === account) {
        text(problem, error.message);
        problem.hidden = false;
      }
    }
    asking = false;
    if (wanted !== account) askedAt = 0;
    paint();
  }

  function paint() {
    const one = store.accounts.get(account);
    if (!one) return;
    text(name, one.name);
    text(state, one.state);
    state.className = `state tone-${tone(one.state)}`;
    test.hidden = !store.may("send");
    if (found) patch(body, parts(found, store.now()));
  }

  async function send() {
    const wanted = account;
    const one = store.accounts.get(wanted);
    const sure = await ask({
      title: `Send a test message from ${wanted}?`, act: "Send",
      body: one?.phone
        ? `${wanted} writes one line to its own number, ${one.phone}. Nobody else gets it. It goes through the outbox like any other message.`
        : `${wanted} writes one line to its own number, which nobody else gets. It goes through the outbox like any other message.`,
    });
    if (!sure) return;
    test.disabled = true;
    say("On its way …");
    try {
      const row = await post(ofPage(wanted, "/test-message"));
      const [words, good] = fate(row, store.now());
      if (wanted === account) say(words, good ? "is-good" : "is-wait");
      announce(words);
    } catch (error) {
      if (wanted === account) say(error.message, "is-bad");
    }
    test.disabled = false;
    askedAt = 0;
  }
  function say(words, how = "") {
    answer.className = `flow-answer ${how}`;
    text(answer, words);
  }
  return { choose, tick };
}

/** What became of a test message, and whether it has arrived at WhatsApp. */
export function fate(row, now) {
  if (row.state === "sent") return ["Test message sent", true];
  const when = row.queued_until ? `, ${until(Date.parse(row.queued_until) / 1000, now)} at the earliest` : "";
  return [`Test message waits in the outbox as row ${row.row}${when}${row.why ? `: ${row.why}` : ""}`, false];
}

function parts(found, now) {
  return [locks(found, now), waiting(found, now), paces(found, now), ends(found)];
}

function locks({ locks: all }, now) {
  if (!all.length) return h("p.lock.is-open", {}, icon("check"), "WhatsApp takes everything.");
  return h("ul.stack", {}, all.map((one) => h("li.lock.tone-bad", {}, icon("warn"), h("span", {},
    h("b", {}, `WhatsApp takes no ${LOCKS[one.what] ?? one.what}`),
    one.until ? [" until ", h("time", { datetime: new Date(one.until * 1000).toISOString() }, moment(one.until)), ` (${until(one.until, now)})`] : " for now",
    one.why ? h("span.lock-why", {}, `${one.why}${one.code ? ` (${one.code})` : ""}`) : null))));
}

function waiting({ states, waiting: by, oldest, next_at, most }, now) {
  const queued = states.queued;
  const kinds = [["reply", "replies"], ["known", "to known chats"], ["new", "to new chats"], ["unknown", "not looked at yet"]];
  const text_ = kinds.filter(([key]) => by[key]).map(([key, words]) => `${by[key].toLocaleString("en-US")} ${words}`).join(", ");
  return h("section.outbox-part", {}, h("h3", {}, "Waiting"),
    h("p.big", {}, queued.toLocaleString("en-US"), h("span.soft", {}, ` of ${most.toLocaleString("en-US")} that may wait`)),
    queued ? meter([queued], most) : null,
    queued ? h("p.soft", {}, [text_, oldest && `oldest ${age(oldest, now)}`, next_at && `next ${until(next_at, now)}`].filter(Boolean).join(" · ")) : null);
}

function paces({ paces: all, paced, typing, gap }, now) {
  if (!paced) return h("section.outbox-part", {}, h("h3", {}, "Pace"), h("p", {}, "Pacing is off: everything goes at once, in order within each chat."));
  return h("section.outbox-part", {}, h("h3", {}, "May go now"),
    h("ul.tokens", {}, all.map((one) => {
      const [words, about] = PACES[one.pace] ?? [one.pace, ""];
      const next = one.left === 0 ? (one.next_at ? `next ${until(one.next_at, now)}` : "none by these settings")
        : one.next_at && one.next_at > now ? `next ${until(one.next_at, now)}` : "now";
      return h("li", {}, h("span", { title: about }, words),
        one.left === null ? h("b", {}, "no limit") : h("b", {}, `${one.left} of ${one.most}`),
        one.left === null ? h("span") : meter([one.left], one.most),
        h("span.soft", {}, one.left === null ? "now" : next));
    })),
    h("p.soft.small", {}, `${typing === null ? "Does not show “typing”" : `Shows “typing” for up to ${span(typing)}`} · ${gap ? `${gap} s between two messages to one chat` : "no pause within a chat"}`));
}

function ends({ states }) {
  const kinds = [["sent", "sent", "good"], ["failed", "failed", "bad"], ["expired", "expired", "bad"], ["unknown", "unknown fate", "wait"], ["sending", "being sent", "wait"], ["taken_back", "taken back", "off"]];
  const there = kinds.filter(([key]) => states[key]);
  if (!there.length) return h("section.outbox-part", {});
  return h("section.outbox-part", {}, h("h3", { title: "Rows of the outbox that are kept" }, "What became of others"),
    h("p.line-up", {}, there.map(([key, words, how]) =>
      h(`span.chip.tone-${how}`, {}, `${states[key].toLocaleString("en-US")} ${words}`))));
}
