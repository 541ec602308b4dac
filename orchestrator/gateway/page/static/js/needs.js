// "Needs you": what only a person can do, worst first, each with its sentence and one button.

import { ACTS, command, run } from "./acts.js";
import { dismissLost, grouped, needOf, toneOf, wordsOf } from "./attention.js";
import * as bulk from "./bulk.js";
import { copyButton, sentence } from "./command.js";
import { ACTS as OF_WEBHOOKS, actsOf } from "./deliveries.js";
import { announce, fill, h, text } from "./dom.js";
import { keyed } from "./keyed.js";
import * as repair from "./repair.js";
import { go, onChange, parameters } from "./router.js";
import { store } from "./store.js";
import { age, capital, count } from "./words.js";

/** As many of one cause are listed one by one; more become one line. */
const MOST_SINGLE = 3;
/** As many lines are shown at first, so that the table is not pushed off the screen. */
const MOST_LINES = 6;
const MOST_WHERE_NARROW = 3;
const PHONE = matchMedia("(max-width: 640px)");
/** Names of a group that can be opened. */
const MOST_NAMES = 200;
/** How long changes are gathered before the list is made anew. */
const GATHER_MS = 150;

/** Build this part of the page. */
export function mount(place) {
  const number = h("span.needs-count", {});
  const list = h("ul.needs-list", {});
  const more = h("button.plain.needs-more", { type: "button", hidden: true, on: { click: () => { all = !all; show(); } } });
  const nothing = h("p.needs-nothing", {}, h("span", { "aria-hidden": "true" }, "✓"), " Nothing to do");
  const heading = h("h2", { id: "needs-heading" }, "Needs you ", number);
  fill(place, h("section.needs", { "aria-labelledby": heading.id }, heading, nothing, list, more));
  const sync = keyed(list, makeLine);
  let all = false;
  let waits = null;

  function show() {
    waits = null;
    const lines = linesOf(present());
    const most = PHONE.matches || parameters().account ? MOST_WHERE_NARROW : MOST_LINES;
    const shown = all ? lines : lines.slice(0, most);
    const people = lines.reduce((sum, { members }) => sum + members.length, 0);
    place.hidden = store.hello === null && store.accounts.size === 0;
    nothing.hidden = lines.length > 0;
    heading.hidden = lines.length === 0;
    text(number, people ? people.toLocaleString("en-US") : "");
    sync(shown.map((line) => [line.key, line]));
    more.hidden = lines.length <= most;
    text(more, all ? "Show fewer" : `Show ${lines.length - shown.length} more`);
  }
  const soon = () => { waits ??= setTimeout(show, GATHER_MS); };
  store.on("accounts", soon);
  store.on("consumers", soon);
  store.on("session", (session) => { if (session) soon(); });
  PHONE.addEventListener("change", soon);
  onChange(soon);
  // The ages of the lines; once in ten seconds is often enough for them.
  let ticks = 0;
  store.on("tick", () => { if (++ticks % 10 === 0) soon(); });
  show();
}

function present() {
  const found = [];
  for (const account of store.accounts.values()) {
    const need = needOf(account);
    if (need) found.push({ name: account.name, need, one: account, consumer: false });
  }
  for (const consumer of store.consumers) {
    const need = needOf(consumer);
    if (need) found.push({ name: consumer.name, need, one: consumer, consumer: true });
  }
  return found;
}

// A line is one account with its cause, or one cause with all its accounts.
function linesOf(needs) {
  return grouped(needs).flatMap((group) => (group.members.length > MOST_SINGLE ? [group]
    : group.members.map((member) => ({
      ...group, key: `${group.key} of ${member.name}`, members: [member], sentence: member.need.sentence,
    }))));
}

function makeLine(first) {
  const single = first.members.length === 1;
  const chip = h("span.chip", {});
  const who = single
    ? h("button.plain.needs-name", { type: "button", title: "Details", on: { click: () => open(line) } })
    : h("button.plain.needs-name", { type: "button", "aria-expanded": "false", on: { click: () => unfold() } });
  const words = h("p.needs-words", {});
  const since = h("span.needs-since.soft", {});
  const acts = h("div.needs-acts", {});
  const names = h("ul.needs-names", { hidden: true });
  const problem = h("p.problem", { role: "alert", hidden: true });
  const element = h("li.needs-line", {}, h("div.needs-what", {}, chip, who, since), words, acts, problem, names);
  let line = first;
  let shownWords = null;
  let shownActs = null;

  function unfold() {
    names.hidden = !names.hidden;
    who.setAttribute("aria-expanded", String(!names.hidden));
    showNames();
  }
  function showNames() {
    if (names.hidden) return;
    const wanted = line.members.map(({ name }) => name);
    if (names.dataset.names === wanted.join()) return;
    names.dataset.names = wanted.join();
    fill(names, wanted.slice(0, MOST_NAMES).map((name) => h("li", {}, h("button.plain", {
      type: "button", on: { click: () => open({ members: line.members.filter((one) => one.name === name) }) },
    }, name))), wanted.length > MOST_NAMES ? h("li.soft", {}, `and ${count(wanted.length - MOST_NAMES, "other")}`) : null);
  }
  async function attempt(button, doing, work) {
    const words = button.textContent;
    button.disabled = true;
    button.textContent = doing;
    problem.hidden = true;
    try {
      await work();
    } catch (error) {
      text(problem, error.message);
      problem.hidden = false;
    }
    button.disabled = false;
    button.textContent = words;
  }
  return {
    element,
    update(now) {
      line = now;
      chip.className = `chip tone-${toneOf(now.kind)}`;
      text(chip, wordsOf(now.kind));
      const [{ name, one, consumer }] = now.members;
      text(who, single ? name : count(now.members.length, consumer ? "consumer" : "account"));
      const began = Math.min(...now.members.map((member) => member.one.since ?? Infinity));
      text(since, Number.isFinite(began) ? age(began, store.now()) : "");
      since.title = single ? "since when" : "the longest of them";
      if (shownWords !== now.sentence) {
        shownWords = now.sentence;
        fill(words, sentence(capital(now.sentence)));
      }
      const wanted = [now.action, now.kind, now.members.length, store.may("operate"), one.need?.[3]].join("\n");
      if (shownActs !== wanted && !acts.querySelector("button:disabled")) {
        const held = acts.contains(document.activeElement);
        shownActs = wanted;
        fill(acts, buttonsOf(now, attempt));
        if (held) acts.querySelector("button")?.focus();
      }
      showNames();
    },
  };
}

function buttonsOf(line, attempt) {
  const { action, kind, members } = line;
  const [{ name, one, consumer, need }] = members;
  const single = members.length === 1;
  const names = members.map((member) => member.name);
  const accounts = members.map((member) => member.one);
  const may = store.may("operate");
  const copy = single && need.command ? copyButton(need.command) : null;
  const button = (words, click, tag = "button.primary") => h(tag, { type: "button", on: { click } }, words);
  const look = button("Look", () => open(line), "button");
  if (consumer) {
    if (!single || !actsOf(one, may).includes(action)) return [copy, look];
    const { label, run: order } = OF_WEBHOOKS[action];
    return [copy, button(label, ({ target }) => order(one, (work) => attempt(target, label, work)))];
  }
  if (kind === "lost") {
    const words = single ? "Dismiss" : "Dismiss all";
    return [copy, button(words, () => { dismissLost(accounts); announce("Dismissed in this browser"); }, "button")];
  }
  if (action === "scan") {
    if (!may) return [copy, button("Look", () => go({ view: "codes" }, true), "button")];
    return single ? [copy, button("Show code", () => repair.showCode(name))]
      : [button(`Show ${count(names.length, "code")}`, () => go({ view: "codes" }, true))];
  }
  if (may && action in ACTS) {
    if (!single) return [button(`${ACTS[action].label}…`, () => bulk.propose(action, names))];
    // What is copied does what the button does: the need names a smaller command where there is no session.
    if (action === "repair") return [copyButton(command("repair", name)), button(`${ACTS.repair.label}…`, () => repair.pairAgain(one))];
    return [copy, button(ACTS[action].label, (event) => attempt(event.target, `${ACTS[action].doing}…`, () => run(action, name)))];
  }
  return single ? [copy, look] : [button("Show them", () => go({ state: [...new Set(accounts.map(({ state }) => state))].join(",") }, true), "button")];
}

function open({ members: [{ name, consumer }] }) {
  go(consumer ? { view: "deliveries", consumer: name } : { account: name }, true);
}

