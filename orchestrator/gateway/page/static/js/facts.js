// The fleet as a whole: the library, the ways out, the machine, and the maintenance switch.

import { post } from "./api.js";
import { commandLine, line } from "./command.js";
import { ask } from "./dialog.js";
import { announce, fill, h, text } from "./dom.js";
import { meter } from "./meter.js";
import { patch } from "./patch.js";
import { onChange, view } from "./router.js";
import { store } from "./store.js";
import { age, count, moment, size, span, until } from "./words.js";

const WAYS = { works: ["works", "good"], lost: ["lost", "bad"], unknown: ["not known", "off"] };

/** Build this part of the page. `banner` is above all views. */
export function mount(place, banner) {
  const sum = h("p.soft", {});
  const cards = h("div.facts", {});
  const switched = makeSwitch();
  const wait = h("p.card.empty", {}, "The service has not told anything yet.");
  fill(place, h("header.view-head", {}, h("h2", {}, "Fleet"), sum), wait, h("div.cards.facts-all", {}, cards, switched.element));
  const paintBanner = makeBanner(banner);

  const show = () => {
    paintBanner(store.facts);
    if (view() !== "fleet") return;
    const { facts } = store;
    wait.hidden = facts !== null;
    switched.element.hidden = facts === null;
    cards.hidden = facts === null;
    text(sum, facts ? headline(facts) : "");
    if (facts) {
      patch(cards, [library, ways, machine, starting, breakers].map((card) => card(facts, store.now())));
      switched.update(facts.maintenance);
    }
  };
  store.on("facts", show);
  store.on("session", show);
  onChange(show);
  store.on("tick", show);
  show();
}

/** Whether all is well with the fleet, in a few words. */
export function headline({ breakers, disk, maintenance, library: known, ways: all }) {
  const trouble = [
    maintenance.on && "maintenance is on",
    known.refused && "WhatsApp refuses this version of the library",
    all.some(({ state }) => state === "lost") && `${count(all.filter(({ state }) => state === "lost").length, "way")} out lost`,
    disk.low && "the disk is almost full",
    breakers.length && !known.refused && !all.some(({ state }) => state === "lost") && `${count(breakers.length, "breaker")} open`,
  ].filter(Boolean);
  return trouble.length ? trouble.join(" · ") : "Nothing stands in the way.";
}

const card = (title, chip, ...parts) => h("section.card.fact", {}, h("header", {}, h("h2", {}, title), chip), parts);
const state = (words, tone) => h(`span.state.tone-${tone}`, {}, words);
const pairs = (all) => h("dl.pairs", {}, all.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

function library({ library: known, service }, now) {
  return card("WhatsApp library", known.refused ? state("refused", "bad") : state("taken by WhatsApp", "good"),
    pairs([
      ["neonize", h("span.mono", {}, known.version ?? "-")],
      known.refused && known.accounts !== null && ["refused", `${count(known.accounts, "account")} ${known.accounts === 1 ? "waits" : "wait"} for a version that WhatsApp takes`],
      known.canary && ["probes now", known.canary],
      !known.canary && known.probe_at && ["next probe", until(known.probe_at, now)],
      ["Orchestrator", h("span.mono", {}, service.version ?? "-")],
      service.started_at && ["running for", h("span", { title: moment(service.started_at) }, age(service.started_at, now))],
    ]),
    known.refused ? commandLine("pip install --upgrade neonize") : null);
}

function ways({ ways: all }, now) {
  return card("Ways out", null, h("ul.ways-out", {}, all.map((one) => {
    const [words, tone] = WAYS[one.state] ?? [one.state, "wait"];
    const probe = one.canary ? `${one.canary} probes` : one.probe_at ? `probe ${until(one.probe_at, now)}` : null;
    return h("li", {},
      h("span.mono.way-name", {}, one.way === "direct" ? "this machine's own network" : one.way), state(words, tone),
      h("span.soft", {}, [`${one.connected.toLocaleString("en-US")} of ${count(one.accounts, "account")} connected`,
        one.waiting && `${one.waiting.toLocaleString("en-US")} waiting`, probe].filter(Boolean).join(" · ")));
  })));
}

function machine({ memory, disk }) {
  const others = memory.total === null || memory.free === null ? 0 : memory.total - memory.free - memory.accounts;
  return card("This machine", disk.low ? state("disk almost full", "bad") : null,
    h("div.amount", {},
      h("p", {}, h("b", {}, size(memory.free)), ` of ${size(memory.total)} of memory free`),
      meter([memory.accounts ?? 0, Math.max(0, others)], memory.total),
      memory.accounts === null ? null : h("p.soft.small", {}, `The accounts use ${size(memory.accounts)}.`)),
    h("div.amount", {},
      h("p", {}, h("b", {}, size(disk.free)), ` of ${size(disk.total)} of the disk free`),
      meter([disk.total === null ? 0 : disk.total - disk.free], disk.total, disk.low),
      h("p.soft.small", {}, "Sessions and messages are kept there.")));
}

function starting({ starting: { queued, dialing, parallel } }) {
  // Whoever sees some accounts only is not told how many others start.
  return card("Starting", null, pairs(queued === null ? [["at once", parallel.toLocaleString("en-US")]] : [
    ["connecting now", `${dialing.toLocaleString("en-US")} of ${parallel.toLocaleString("en-US")} at once`],
    ["wait their turn", queued.toLocaleString("en-US")],
  ]));
}

function breakers({ breakers: all }, now) {
  if (!all.length) return card("Breakers", state("closed", "good"), h("p.soft", {}, "No cause that accounts have in common holds any of them."));
  return card("Breakers", state(`${all.length} open`, "bad"), h("ul.ways-out", {}, all.map(({ what, probe_at: at, canary }) => h("li", {},
    h("span.way-name", {}, what === "version" ? "WhatsApp refuses this version of the library" : `No connection by ${what === "direct" ? "this machine's own network" : what}`),
    h("span.soft", {}, canary ? `${canary} probes now; the others follow when it connects`
      : at ? `an account probes ${until(at, now)}` : "accounts wait")))));
}

// The maintenance switch

const mayTurn = () => store.may("operate") && store.session?.accounts === null;

function makeSwitch() {
  const chip = h("span.state", {});
  const words = h("p", {});
  const button = h("button", { type: "button", on: { click: () => turn(button, problem) } });
  const problem = h("p.problem", { role: "alert", hidden: true });
  const commands = h("div.stack", {});
  const element = h("section.card.fact.switch", { "aria-label": "Maintenance" },
    h("header", {}, h("h2", {}, "Maintenance"), chip), words, problem, h("div.acts", {}, button), commands);
  let shown = null;
  function update({ on, since, waiting }) {
    text(chip, on ? "on" : "off");
    chip.className = `state tone-${on ? "wait" : "off"}`;
    text(words, on
      ? `Nothing starts by itself${since ? ` since ${moment(since)}` : ""}: no start, no retry. What is connected stays connected. ${waiting ? `${count(waiting, "account")} ${waiting === 1 ? "waits" : "wait"} for the end.` : waiting === null ? "" : "No account waits for the end."}`
      : "While it is on, nothing starts by itself: no start, no retry. What is connected stays connected, and an account that somebody starts by its name does start.");
    text(button, on ? "End maintenance…" : "Begin maintenance…");
    button.hidden = !mayTurn();
    if (shown === on) return;
    shown = on;
    fill(commands, commandLine(line("orchestrator", "maintenance", on ? "off" : "on")));
  }
  return { element, update };
}

/** Make the line above all views while maintenance is on. */
function makeBanner(banner) {
  const words = h("span", {});
  const button = h("button.small", { type: "button", on: { click: () => turn(button, problem) } }, "End maintenance…");
  const problem = h("span", { role: "alert" });
  fill(banner, h("span.banner-words", {}, words, problem), button);
  return (facts) => {
    const on = facts?.maintenance?.on ?? false;
    banner.hidden = !on;
    if (!on) return;
    const { since, waiting } = facts.maintenance;
    text(words, `Maintenance${since ? ` for ${span(Math.max(0, store.now() - since))}` : ""}: nothing starts by itself.${waiting ? ` ${count(waiting, "account")} ${waiting === 1 ? "waits" : "wait"}.` : ""}`);
    button.hidden = !mayTurn();
  };
}

async function turn(button, problem) {
  const { on, waiting } = store.facts.maintenance;
  const sure = await ask(on ? {
    title: "End maintenance?", act: "End maintenance",
    body: waiting
      ? `${count(waiting, "account")} ${waiting === 1 ? "waits, and starts" : "wait, and start"} when it is their turn, at most ${store.hello?.parallel ?? 1} at once.`
      : "Accounts start and try again by themselves from then on.",
  } : {
    title: "Begin maintenance?", act: "Begin maintenance",
    body: "From then on nothing starts by itself: an account whose process ends stays away until the end, or until somebody starts it by its name. It lasts over restarts of the service.",
  });
  if (!sure) return;
  button.disabled = true;
  try {
    const now = await post("/page/maintenance", { on: !on });
    store.facts = { ...store.facts, maintenance: { ...store.facts.maintenance, ...now } };
    store.tell("facts", store.facts);
    if ("hidden" in problem) problem.hidden = true;
    text(problem, "");
    announce(on ? "Maintenance is over" : "Maintenance has begun");
  } catch (error) {
    text(problem, ` ${error.message}`);
    problem.hidden = false;
  }
  button.disabled = false;
}
