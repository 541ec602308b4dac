// Asks the gateway. Errors are objects of `Problem`: the gateway's own words, for people.

/** What the gateway refuses, or that nobody answered. */
export class Problem extends Error {
  /**
   * @param {number} status The status of the answer, 0 without one.
   * @param {string} key By which programs know the error, as in docs/protocol.md.
   * @param {string} detail What is wrong and what to do.
   */
  constructor(status, key, detail) {
    super(detail);
    this.status = status;
    this.key = key;
  }
}

/** Called when the session is over. `login.js` sets it. */
export const ended = { call: () => {} };

/** Get JSON. */
export const get = (path) => ask("GET", path);
/** Send JSON, and get JSON. */
export const post = (path, body = {}) => ask("POST", path, body);
/** Remove something. */
export const remove = (path) => ask("DELETE", path);

/** The path of an account in the API. */
export const account = (name, rest = "") => `/api/accounts/${encodeURIComponent(name)}${rest}`;

/** The path of an account in what only the page asks for. */
export const ofPage = (name, rest) => `/page/accounts/${encodeURIComponent(name)}${rest}`;

async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "not_running", "The gateway does not answer. The page tries again by itself.");
  }
  const found = await read(answer);
  if (answer.ok) return found;
  if (answer.status === 401 && path !== "/page/session") ended.call();
  throw new Problem(answer.status, found?.key ?? "failed", found?.detail ?? `The gateway answered ${answer.status}.`);
}

async function read(answer) {
  try {
    return await answer.json();
  } catch {
    return null;
  }
}
