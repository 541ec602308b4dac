// What the page knows: the accounts, the consumers, the facts. Everybody reads it here and hears what changes.

const listeners = new Map();

export const store = {
  /** @type {Map<string, Object>} The accounts by name. Their fields are in `gateway/page/rows.py`; times are in
   * Unix seconds of the gateway's clock. */
  accounts: new Map(),
  /** Webhooks, bots and pulls, as in `gateway/page/flows.py`. */
  consumers: [],
  /** Facts of the fleet, as in `gateway/page/facts.py`; null before the first. */
  facts: null,
  /** Who is logged in: `scopes`, `accounts` (null for all), `expires_at`; null for nobody. */
  session: null,
  /** What the gateway said first: `version`, `states` (worst first), `parallel`. */
  hello: null,
  /** Whether the stream is open: "connecting", "open" or "broken". */
  connection: "connecting",
  /** Seconds by which the gateway's clock is ahead of this one. */
  ahead: 0,

  /** Unix seconds by the gateway's clock. */
  now: () => Date.now() / 1000 + store.ahead,
  /** Whether the session has a scope. */
  may: (scope) => store.session?.scopes.includes(scope) ?? false,

  /**
   * Hear of changes.
   * @param {"accounts"|"consumers"|"facts"|"hello"|"session"|"connection"|"tick"|"shown"|"selection"|"cursor"|"strips"} kind
   *     "accounts" comes with `{changed: Set<string>, gone: Set<string>, all: boolean}`, "tick" once a second while the
   *     page is seen. `list.js` tells "shown", "selection" and "cursor", `strips.js` that all strips are others.
   * @param {(what: any) => void} listener
   */
  on(kind, listener) {
    if (!listeners.has(kind)) listeners.set(kind, new Set());
    listeners.get(kind).add(listener);
    return () => listeners.get(kind).delete(listener);
  },

  /** Tell everybody who listens. One listener that fails keeps nothing from the others. */
  tell(kind, what) {
    for (const listener of listeners.get(kind) ?? []) {
      try {
        listener(what);
      } catch (error) {
        console.error(error);
      }
    }
  },
};

setInterval(() => { if (!document.hidden) store.tell("tick"); }, 1000);
