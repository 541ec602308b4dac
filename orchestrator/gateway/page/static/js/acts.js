// What an operator can do to an account: the words, the command, the request, and what will come of it. Pure but
// for `run`.

import { account as path, post } from "./api.js";
import { line } from "./command.js";
import { count, span } from "./words.js";

/** States in which a process of the account runs or is about to. */
const RUNS = new Set(["starting", "connecting", "pairing", "connected", "reconnecting"]);

/**
 * The acts by their word in the API, which is the word of the command, too. `label` is on buttons, `doing` and
 * `done` tell how far it is.
 */
export const ACTS = {
  start: { label: "Start", doing: "Starting", done: "started", danger: false },
  stop: { label: "Stop", doing: "Stopping", done: "stopped", danger: true },
  restart: { label: "Restart", doing: "Restarting", done: "restarted", danger: false },
  repair: { label: "Pair again", doing: "Pairing", done: "set to pair again", danger: true },
};

/** The command that does an act to accounts. */
export const command = (act, ...names) => line("orchestrator", act, ...names);

/** Have it done; comes with the account as it is now. */
export async function run(act, name, how = {}) {
  const answer = await post(path(name, `/${act}`), act === "repair" ? how : {});
  return answer.account;
}

/** Whether an act makes sense for an account as it is; which buttons are shown depends on it. */
export function fits(act, account) {
  const { state } = account;
  if (state === "disabled") return false;
  switch (act) {
    case "start": return !RUNS.has(state);
    case "stop": return state !== "stopped";
    case "restart": return RUNS.has(state);
    default: return true;
  }
}

/** What an act does to one account, as a sentence for the question before it. */
export function consequence(act, account) {
  const { name, state } = account;
  switch (act) {
    case "start":
      if (state === "replaced") return `${name} takes its session back from the other program that uses it.`;
      return `A process of ${name} starts when it is its turn. No new code is needed as long as the session is good.`;
    case "stop":
      return state === "connected"
        ? `${name} is disconnected. Nothing is received or sent until somebody starts it, also after a restart of the service. WhatsApp keeps messages for it meanwhile.`
        : `${name} tries no longer to connect until somebody starts it, also after a restart of the service.`;
    case "restart":
      return `${name} gets a new process when it is its turn${state === "connected" ? ", and is disconnected for some seconds" : ""}. The session is kept: no new code is needed.`;
    default:
      return state === "connected"
        ? `${name} is connected. Its session is thrown away, and it stays disconnected until somebody scans a new code with its phone.`
        : `The session of ${name}, if there is one, is thrown away. Somebody has to scan a new code with its phone.`;
  }
}

/**
 * Say what an act would do to many accounts.
 * @param {string} act One of `ACTS`.
 * @param {Object[]} accounts
 * @param {{parallel: number}} pace How many may be starting at once.
 * @returns {{names: string[], left: {why: string, names: string[]}[], lines: string[], seconds: number}} `names`
 *     are those that it is done to, worst first as they came; `left` those that are left out; `lines` what will
 *     happen, a sentence each; `seconds` about how long it takes.
 */
export function plan(act, accounts, { parallel }) {
  const names = [];
  const left = new Map();
  const by = new Map();
  for (const account of accounts) {
    const why = leftOut(act, account);
    if (why) {
      left.set(why, [...(left.get(why) ?? []), account.name]);
      continue;
    }
    names.push(account.name);
    const kind = kindOf(account);
    by.set(kind, (by.get(kind) ?? 0) + 1);
  }
  const seconds = lasts(act, names.length, parallel);
  return {
    names,
    left: [...left].map(([why, some]) => ({ why, names: some })),
    lines: linesOf(act, names.length, by, parallel, seconds),
    seconds,
  };
}

function leftOut(act, account) {
  if (account.state === "disabled") return "disabled in the configuration";
  if (act === "stop" && account.state === "stopped") return "stopped already";
  if (act === "start" && account.state === "connected") return "connected already";
  if (act === "start" && RUNS.has(account.state)) return "starting already";
  if (act === "start" && account.state === "banned" && account.next_at) return "banned for a time that WhatsApp has named";
  return null;
}

function kindOf(account) {
  if (account.state === "connected") return "connected";
  if (RUNS.has(account.state)) return "begins";
  if (account.state === "stopped") return "stopped";
  return "down";
}

// A start takes some seconds on a machine with a good network; the page says "about", and shows how it really goes.
const START_SECONDS = 5.5;

function lasts(act, number, parallel) {
  if (number === 0) return 0;
  if (act === "stop") return Math.ceil(number / Math.max(1, parallel));
  return Math.ceil(number / Math.max(1, parallel)) * START_SECONDS;
}

function linesOf(act, number, by, parallel, seconds) {
  if (number === 0) return ["Nothing: the act fits none of these accounts."];
  const of = (kind) => by.get(kind) ?? 0;
  const lines = [];
  const are = (n) => (n === 1 ? "is" : "are");
  const say = (n, rest) => { if (n) lines.push(`${count(n, "account")} ${rest}`); };
  switch (act) {
    case "start":
      say(of("stopped"), `${are(of("stopped"))} stopped, and will start.`);
      say(of("down"), `${are(of("down"))} down, and will try at once, whatever ${of("down") === 1 ? "it waits" : "they wait"} for.`);
      break;
    case "stop":
      say(of("connected"), `${are(of("connected"))} connected, and will be disconnected.`);
      say(of("begins"), `${are(of("begins"))} about to connect, and will stop.`);
      say(of("down"), `${are(of("down"))} down, and will not try again.`);
      lines.push("What is stopped stays stopped until somebody starts it, also after a restart of the service.");
      break;
    case "restart":
      say(of("connected"), `${are(of("connected"))} connected, and will be disconnected for some seconds.`);
      say(of("begins"), `${are(of("begins"))} about to connect, and will begin anew.`);
      say(of("stopped"), `${are(of("stopped"))} stopped, and will start.`);
      say(of("down"), `${are(of("down"))} down, and will try at once.`);
      lines.push("Sessions are kept: no new code is needed.");
      break;
    default:
      say(of("connected"), `${are(of("connected"))} connected, and will be disconnected until somebody scans a new code.`);
      say(number - of("connected"), `${are(number - of("connected"))} not connected, and will show a new code.`);
      lines.push("Sessions are thrown away: each account needs its phone.");
  }
  if (act !== "stop") {
    lines.push(number > parallel
      ? `At most ${parallel} start at once${act === "repair" ? "" : `: all of it takes about ${span(seconds)}`}.`
      : "All of them start at once.");
  }
  return lines;
}
