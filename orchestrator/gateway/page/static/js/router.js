// What the address says: which view, which filter, which account. A link shows another person the same.

const listeners = new Set();

/** The views, in the order of their buttons: the key is the word in the address. */
export const VIEWS = { accounts: "Accounts", codes: "Codes", deliveries: "Deliveries", sending: "Sending", fleet: "Fleet" };

/**
 * The parameters: `view`, `state` and `tag` (several, with commas), `need` ("1": only who needs a person), `q`, `sort`
 * ("name", "-since"), `selected` (names, with commas), `account` (whose details are open), `consumer` (which one stands
 * out among the deliveries), `of` (whose sending is shown).
 */
export function parameters() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** The words of a parameter that has several, with commas; none if it is not there. */
export const listOf = (value) => (value ?? "").split(",").filter(Boolean);

/** The view that is shown. */
export function view() {
  const wanted = parameters().view;
  return wanted in VIEWS ? wanted : "accounts";
}

/**
 * Change parameters; an empty value takes one away.
 * @param {Object} changes
 * @param {boolean} [push] Whether the browser's "back" comes here again.
 */
export function go(changes, push = false) {
  const found = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") found.delete(key);
    else found.set(key, value);
  }
  // A comma may stand in a query as it is: an address that people read shows lists as lists.
  const query = found.toString().replaceAll("%2C", ",");
  const address = query ? `/?${query}` : "/";
  if (address === location.pathname + location.search) return;
  history[push ? "pushState" : "replaceState"](null, "", address);
  tell();
}

/** Hear of changes. */
export function onChange(listener) {
  listeners.add(listener);
}

function tell() {
  for (const listener of listeners) listener(parameters());
}

addEventListener("popstate", tell);
