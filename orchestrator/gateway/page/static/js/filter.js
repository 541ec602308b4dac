// Which accounts a filter lets through, and in which order they stand.

import { needOf } from "./attention.js";
import { listOf } from "./router.js";
import { byName } from "./words.js";

/**
 * Read a filter from the parameters of the address.
 * @param {Object} parameters As of `router.parameters()`.
 * @returns {{states: Set<string>|null, tags: string[], words: string[], need: boolean}}
 */
export function filterOf(parameters) {
  const states = listOf(parameters.state);
  return {
    states: states.length ? new Set(states) : null,
    tags: listOf(parameters.tag),
    words: (parameters.q ?? "").toLowerCase().split(/\s+/).filter(Boolean),
    need: parameters.need === "1",
  };
}

/** Whether anything is left out. */
export const narrows = (filter) => filter.states !== null || filter.tags.length > 0 || filter.words.length > 0 || filter.need;

/** Whether an account passes the search and the tags: what the counts by state are counted of. */
export function found(account, filter) {
  const tags = account.tags ?? [];
  if (!filter.tags.every((tag) => tags.includes(tag))) return false;
  if (!filter.words.length) return true;
  const hay = hayOf(account);
  return filter.words.every((word) => hay.includes(word));
}

/** Whether an account passes the whole filter. */
export function matches(account, filter) {
  if (filter.states !== null && !filter.states.has(account.state)) return false;
  if (filter.need && needOf(account) === null) return false;
  return found(account, filter);
}

/** What the search looks in, by account: a changed account is another object, so nothing here gets old. */
const hays = new WeakMap();

function hayOf(account) {
  let hay = hays.get(account);
  if (hay === undefined) {
    hay = [account.name, account.state, account.phone, account.proxy, account.reason, ...(account.tags ?? [])]
      .filter(Boolean).join("\n").toLowerCase();
    hays.set(account, hay);
  }
  return hay;
}

/**
 * Give the comparison for a sort.
 * @param {string} sort A field, with a dash before it for the other direction.
 * @param {string[]} states Worst first.
 * @returns {(a: Object, b: Object) => number} Accounts without a value come last in both directions.
 */
export function order(sort, states) {
  const down = sort.startsWith("-");
  const field = down ? sort.slice(1) : sort;
  const rank = new Map(states.map((state, at) => [state, at]));
  const value = {
    name: (account) => account.name,
    state: (account) => rank.get(account.state) ?? -1,
    tags: (account) => (account.tags?.length ? account.tags.join(" ") : null),
  }[field] ?? ((account) => account[field] ?? null);
  const sign = down ? -1 : 1;
  return (a, b) => {
    const one = value(a);
    const other = value(b);
    if (one === null || other === null) {
      if (one !== other) return one === null ? 1 : -1;
    } else {
      const difference = compare(one, other);
      if (difference) return sign * difference;
    }
    return byName(a.name, b.name);
  };
}

function compare(a, b) {
  if (typeof a === "string" && typeof b === "string") return byName(a, b);
  return a < b ? -1 : a > b ? 1 : 0;
}
