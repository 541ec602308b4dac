// Deliveries: how each webhook, bot and pull gets its events, and what can be done about it.

import { post } from "./api.js";
import { copyButton, line, sentence } from "./command.js";
import { ask } from "./dialog.js";
import { announce, fill, h, text } from "./dom.js";
import { keyed } from "./keyed.js";
import { Past, picture, POINT_SECONDS } from "./past.js";
import { onChange, parameters, view } from "./router.js";
import { store } from "./store.js";
import { age, byName, count, until } from "./words.js";

const STATES = {
  active: ["takes events", "good"],
  failing: ["fails", "bad"],
  waiting: ["asked for time", "wait"],
  paused: ["paused", "off"],
  disabled: ["wants no more", "bad"],
};
const ORDER = ["disabled", "failing", "waiting", "paused", "active"];
const COLUMNS = [
  ["c-who", "Who", "Webhooks, bots and pulls"],
  ["c-flow", "State", "Whether it takes events"],
  ["c-rate right", "A minute", "Events that it took in the last minute"],
  ["c-p95 right", "p95", "Within this time, 95 of 100 events of the last five minutes were taken"],
  ["c-wait right", "Waiting", "Events that it has not had yet"],
  ["c-old right", "Oldest", "How long the oldest of these has waited"],
  ["c-again right", "Again", "Events that failed and are tried again"],
  ["c-dead right", "Given up", "Events that failed for three days, and can be replayed"],
  ["c-acts", "", null],
];
/** How long the answer to an act is shown. */
const ANSWER_MS = 20_000;

const past = new Past();

/** Build this part of the page. */
export function mount(place) {
  const sum = h("p.soft", {});
  const lines = h("tbody");
  const table = h("table.flows", { "aria-label": "Consumers" },
    h("thead", {}, h("tr", {}, COLUMNS.map(([name, title, about]) => h(`th.${name.replace(" ", ".")}`, {
      scope: "col", title: about,
    }, title || h("span.unseen", {}, "What can be done"))))), lines);
  const card = h("div.flows-card", {}, table);
  const empty = h("div.card.empty", {},
    h("p", {}, "Nobody gets events: there is no webhook, no bot and no pull."),
    h("p", {}, "A webhook stands under ", h("code", {}, "webhooks:"), " in the configuration. A pull begins with its first request."));
  fill(place, h("header.view-head", {}, h("h2", {}, "Deliveries"), sum), card, empty);
  const sync = keyed(lines, makeLine);

  const show = () => {
    if (view() !== "deliveries") return;
    const all = [...store.consumers].sort(worstFirst);
    card.hidden = all.length === 0;
    empty.hidden = all.length > 0 || store.hello === null;
    text(sum, all.length ? summary(all) : "");
    sync(all.map((one) => [`${one.kind} ${one.name}`, one]));
  };
  store.on("consumers", show);
  onChange(show);
  let ticks = 0;
  store.on("tick", () => {
    ticks += 1;
    if (ticks % POINT_SECONDS === 0) past.note(store.consumers.map(({ name, rate }) => [name, rate ?? 0]));
    show();
  });
  store.on("session", (session) => { if (session === null) past.note([]); });
  show();
}

/** The state of a consumer in words, and its tone. One that a later service has is shown as it is. */
export const standing = (state) => STATES[state] ?? [state, "wait"];

/** A time in milliseconds, in short. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "-";
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** All consumers in one line. */
export function summary(all) {
  const of = (key) => all.reduce((sum, one) => sum + (one[key] ?? 0), 0);
  const parts = [`${of("rate").toLocaleString("en-US")} a minute`, `${of("waiting").toLocaleString("en-US")} waiting`];
  if (of("dead")) parts.push(`${of("dead").toLocaleString("en-US")} given up`);
  return parts.join(" · ");
}

function worstFirst(a, b) {
  return Boolean(b.need) - Boolean(a.need) || ORDER.indexOf(a.state) - ORDER.indexOf(b.state)
    || byName(a.name, b.name);
}

/** What went wrong last with a consumer, and when; null for nothing. */
export function trouble(one, now) {
  const error = one.last_error ?? (one.state === "active" ? null : one.why);
  if (!error) return null;
  const when = one.last_error_at ? `${age(one.last_error_at, now)} ago: ` : "";
  return `${when}${error}`;
}

function makeLine() {
  const name = h("b", {});
  const kind = h("span.tag", {});
  const need = h("p.flow-note.is-need", {});
  const words = h("p.flow-note", {});
  const answer = h("p.flow-answer", { role: "status" });
  const state = h("span.state", {});
  const chart = picture();
  const cells = Object.fromEntries(["rate", "p95", "waiting", "oldest", "retrying", "dead"].map((key) => [key, h("span", {})]));
  const acts = h("div.flow-acts", {});
  const element = h("tr", {},
    h("th.c-who", { scope: "row" }, h("span.flow-name", {}, name, kind), need, words, answer),
    h("td.c-flow", {}, state),
    cell("c-rate", "A minute", chart.element, cells.rate), cell("c-p95", "p95", cells.p95),
    cell("c-wait", "Waiting", cells.waiting), cell("c-old", "Oldest", cells.oldest),
    cell("c-again", "Again", cells.retrying), cell("c-dead", "Given up", cells.dead),
    h("td.c-acts", {}, acts));
  let one;
  let shownActs = null;
  let shownNeed = null;
  let forget = 0;

  const say = (what, tone = "") => {
    answer.className = `flow-answer ${tone}`;
    fill(answer, what);
    clearTimeout(forget);
    forget = setTimeout(() => fill(answer), ANSWER_MS);
  };

  async function attempt(button, work) {
    button.disabled = true;
    try {
      say(await work(), "is-good");
    } catch (error) {
      say(error.message, "is-bad");
    }
    button.disabled = false;
  }

  function update(data) {
    one = data;
    const now = store.now();
    const [said, tone] = standing(one.state);
    text(name, one.name);
    text(kind, one.kind);
    text(state, one.state === "waiting" || (one.state === "failing" && one.next_try_at)
      ? `${said}, next ${until(one.next_try_at, now)}` : said);
    state.className = `state tone-${tone}`;
    const needed = one.need ? one.need[1] : null;
    if (needed !== shownNeed) {
      shownNeed = needed;
      fill(need, needed ? sentence(needed) : null);
    }
    text(words, trouble(one, now) ?? "");
    number(cells.rate, one.kind === "pull" ? null : one.rate);
    text(cells.p95, duration(one.p95));
    number(cells.waiting, one.kind === "pull" ? null : one.waiting);
    text(cells.oldest, age(one.oldest, now));
    number(cells.retrying, one.retrying);
    number(cells.dead, one.dead);
    cells.dead.classList.toggle("is-bad", one.dead > 0);
    chart.show(past.of(one.name));
    element.classList.toggle("opened", parameters().consumer === one.name);
    showActs();
  }

  function showActs() {
    const wanted = actsOf(one, store.may("operate"));
    const signature = wanted.join();
    if (signature === shownActs) return;
    shownActs = signature;
    fill(acts, wanted.map((act) => button(act)), copyButton(commandOf(one)));
  }

  function button(act) {
    const { label, run } = ACTS[act];
    const made = h("button.small", { type: "button", "aria-label": `${label} ${one.name}` }, label);
    made.addEventListener("click", () => run(one, (work) => attempt(made, work)));
    return made;
  }
  return { element, update };
}

const cell = (className, label, ...parts) => h(`td.right.${className}`, { data: { label } }, h("span.flow-cell", {}, parts));

function number(place, value) {
  text(place, value === null || value === undefined ? "-" : value.toLocaleString("en-US"));
  place.classList.toggle("none", !value);
}

/** Which acts a consumer has: programs come for the events of pulls, and bots are paused by a command. */
export function actsOf(one, mayOperate) {
  if (one.kind !== "webhook" || !mayOperate) return [];
  const pauses = one.state === "paused" || one.state === "disabled" ? "resume" : "pause";
  const retry = pauses === "pause" && (one.state === "failing" || one.retrying > 0) ? "retry" : null;
  return [one.dead > 0 ? "replay" : null, retry, "test", pauses].filter(Boolean);
}

/** The command that tells more of a consumer, or does what the page has no button for. */
function commandOf({ kind, name, state, dead }) {
  if (kind === "pull") return line("orchestrator", "consumer", "list");
  const group = kind === "webhook" ? "webhook" : "consumer";
  if (dead > 0) return line("orchestrator", group, "dead", name);
  return line("orchestrator", group, state === "paused" || state === "disabled" ? "resume" : "pause", name);
}

/** What is said before events are sent again. */
export const replayed = ({ dead }) => `${count(dead, "event")} ${dead === 1 ? "is" : "are"} sent again, each with the id that it had. The receiver can tell by the id what it has had already.`;

const path = ({ name }, act) => `/api/webhooks/${encodeURIComponent(name)}/${act}`;

/** What an operator can do to a webhook: what the button says, and what does it. */
export const ACTS = {
  test: {
    label: "Test",
    run: (one, attempt) => attempt(async () => {
      const { status, seconds, why } = await post(path(one, "test"));
      if (why) throw new Error(`Test: ${status ? `status ${status}, ` : ""}${why}`);
      announce(`${one.name} took the test`);
      return `Test: status ${status} in ${duration(Math.round(seconds * 1000))}`;
    }),
  },
  pause: {
    label: "Pause",
    async run(one, attempt) {
      const sure = await ask({
        title: `Pause ${one.name}?`, act: "Pause",
        body: "It gets nothing until somebody resumes it, also after a restart. Events wait meanwhile: nothing is lost.",
      });
      if (sure) await attempt(async () => { await post(path(one, "pause")); return "Paused"; });
    },
  },
  resume: {
    label: "Resume",
    run: (one, attempt) => attempt(async () => { await post(path(one, "resume")); return "Resumed"; }),
  },
  retry: {
    label: "Try now",
    run: (one, attempt) => attempt(async () => { await post(path(one, "resume")); return "Trying now"; }),
  },
  replay: {
    label: "Replay…",
    async run(one, attempt) {
      const sure = await ask({
        title: `Replay what was given up for ${one.name}?`, act: `Replay ${count(one.dead, "event")}`,
        body: replayed(one),
      });
      if (!sure) return;
      await attempt(async () => {
        const answer = await post(path(one, "replay"));
        return `${count(answer.replayed, "event")} on the way again`;
      });
    },
  },
};
