// Which accounts and consumers need a person, as the service says it, less what was dismissed in this browser.

import { store } from "./store.js";
import { byName } from "./words.js";

const KEPT = "orchestrator.lost";
const MOST_KEPT = 1000;

/** How needs are called, and their tones. Kinds that a later service has are shown as they are. */
const KINDS = {
  banned: ["banned", "bad"],
  logged_out: ["logged out", "bad"],
  failed: ["failed", "bad"],
  outdated: ["library too old", "bad"],
  replaced: ["session taken over", "bad"],
  code: ["waits for a scan", "scan"],
  restricted: ["restricted", "wait"],
  phone_offline: ["phone offline", "wait"],
  lost: ["messages lost", "wait"],
  disabled: ["endpoint dead", "bad"],
  failing: ["endpoint failing", "bad"],
  dead_letters: ["events given up", "wait"],
};
const ORDER = [
  "banned", "logged_out", "failed", "outdated", "replaced", "disabled", "failing", "code", "restricted", "phone_offline",
  "dead_letters", "lost",
];

/** The words of a kind of need. */
export const wordsOf = (kind) => KINDS[kind]?.[0] ?? kind.replaceAll("_", " ");
/** The tone of a kind of need. */
export const toneOf = (kind) => KINDS[kind]?.[1] ?? "bad";
/** The place of a kind of need: the worst has 0, one that is not known comes after all bad ones. */
export function rankOf(kind) {
  const at = ORDER.indexOf(kind);
  return at >= 0 ? at : ORDER.indexOf("failing") + 0.5;
}

/**
 * What an account or a consumer needs from a person.
 * @param {Object} one A row of the stream.
 * @returns {?{kind: string, sentence: string, action: string, command: ?string}} Null for nothing.
 */
export function needOf(one) {
  if (!one.need) return null;
  const [kind, sentence, action, command] = one.need;
  if (kind === "lost" && (dismissed()[one.name] ?? 0) >= (one.lost ?? 0)) return null;
  return { kind, sentence, action, command };
}

/** Show the messages that these accounts have lost so far no more, in this browser. */
export function dismissLost(accounts) {
  const kept = dismissed();
  for (const account of accounts) kept[account.name] = account.lost ?? 0;
  // Accounts that are gone must not fill the browser's store for ever.
  const names = Object.keys(kept);
  if (names.length > MOST_KEPT) for (const name of names) if (!store.accounts.has(name)) delete kept[name];
  memory = kept;
  try {
    localStorage.setItem(KEPT, JSON.stringify(kept));
  } catch { /* Without a store, it is dismissed until the page is loaded again. */ }
  store.tell("accounts", { changed: new Set(accounts.map(({ name }) => name)), gone: new Set(), all: false });
}

let memory = null;

function dismissed() {
  if (memory !== null) return memory;
  memory = {};
  try {
    const found = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    for (const [name, lost] of Object.entries(found ?? {})) if (Number.isFinite(lost)) memory[name] = lost;
  } catch { /* Somebody else wrote there. */ }
  return memory;
}

/**
 * Put needs together that have the same cause, worst first.
 * @param {{name: string, need: Object, one: Object}[]} needs
 * @returns {{key: string, kind: string, action: string, sentence: string, members: Object[]}[]} The sentence of a
 *     group of several has NAME where the name of each is.
 */
export function grouped(needs) {
  const groups = new Map();
  for (const member of needs) {
    const { kind, action, sentence } = member.need;
    const general = withoutName(sentence, member.name);
    const key = `${member.consumer ? "consumer " : ""}${kind} ${action} ${general}`;
    const group = groups.get(key);
    if (group) group.members.push(member);
    else groups.set(key, { key, kind, action, general, members: [member] });
  }
  const found = [...groups.values()].map(({ general, ...group }) => ({
    ...group, sentence: group.members.length > 1 ? general : group.members[0].need.sentence,
  }));
  for (const group of found) group.members.sort((a, b) => byName(a.name, b.name));
  return found.sort((a, b) => rankOf(a.kind) - rankOf(b.kind) || b.members.length - a.members.length
    || byName(a.members[0].name, b.members[0].name));
}

// Names stand in commands, which are between backticks, and in the names of the pictures of codes.
function withoutName(sentence, name) {
  return sentence.split("`").map((part, index) => (index % 2
    ? part.split(" ").map((word) => (word === name || word === `${name}:` ? word.replace(name, "NAME") : word)).join(" ")
    : part.replaceAll(`/${name}.png`, "/NAME.png"))).join("`");
}
