// Logs people in, by a code in the address or by a token, shows who is logged in, and logs out.

import { ended, get, post, remove } from "./api.js";
import { sentence } from "./command.js";
import { announce, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { store } from "./store.js";
import { count, moment } from "./words.js";

const PATH = "/page/session";
const CODE = /^#orc-code=([\w-]{1,256})$/;
const OVER = "Your session is over. Log in again.";
const RETRY_SECONDS = 3;
// Timers of browsers end at once if they are longer than this.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

let form;
let who;
let timer = 0;

/** Build this part of the page, and see who is there. */
export function mount(login, session) {
  form = login;
  who = session;
  ended.call = () => { if (store.session) ask(OVER); };
  addEventListener("hashchange", () => { if (CODE.test(location.hash)) begin(takeCode()); });
  begin(takeCode());
}

/** Log in with a code, or go on with the session that the browser has. */
async function begin(code) {
  clearTimeout(timer);
  try {
    const session = code ? await post(PATH, { code }) : await get(PATH);
    if (session) enter(session, code !== null);
    else ask(store.session ? OVER : "");
  } catch (error) {
    if (error.status === 0 || error.status >= 500) unreachable(error, code);
    // A page that is open stays open, whatever is wrong with the code.
    else if (!await goOn()) ask(error.message);
    else announce(error.message);
  }
}

/** Go on with the session that the browser has; tell whether it has one. */
async function goOn() {
  try {
    const session = await get(PATH);
    if (session) enter(session);
    return session !== null;
  } catch {
    return false;
  }
}

/** Take the code out of the address, before anybody sees it there, copies it, or finds it in the history. */
function takeCode() {
  const code = CODE.exec(location.hash)?.[1] ?? null;
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

/** Show the page to somebody; with `anew`, to somebody else than before, who may see less. */
function enter(session, anew = false) {
  if (anew && store.session) {
    store.session = null;
    store.tell("session", null);
  }
  store.session = session;
  fill(form);
  show(session);
  clearTimeout(timer);
  if (session.expires_at) {
    const rest = (session.expires_at - store.now()) * 1000;
    timer = setTimeout(() => begin(null), Math.min(Math.max(rest, 0) + 1000, LONGEST_TIMER_MS));
  }
  store.tell("session", session);
}

/** Show the form: nobody is logged in. */
function ask(why) {
  store.session = null;
  clearTimeout(timer);
  fill(who);
  const problem = h("p.login-problem", { role: "alert" }, sentence(why));
  problem.hidden = !why;
  const input = h("input", {
    id: "login-token", name: "token", type: "password", required: true, maxlength: 256, spellcheck: "false",
    autocomplete: "current-password", autocapitalize: "none", placeholder: "orc_…",
  });
  const button = h("button.primary", { type: "submit" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    try {
      enter(await post(PATH, given(input.value.trim())));
    } catch (error) {
      fill(problem, sentence(error.message));
      problem.hidden = false;
      input.select();
    } finally {
      button.disabled = false;
    }
  };
  fill(form, h("div.login-card", {},
    h("h1", {}, "Orchestrator"),
    problem,
    h("p", {}, "On the machine of the service, ", h("code", {}, "orchestrator page"),
      " prints a link that logs you in, once and within five minutes."),
    h("form", { on: { submit } },
      // Password managers keep a token only beside the name of a user.
      h("input", { type: "text", name: "username", autocomplete: "username", value: "orchestrator", hidden: true }),
      h("label", { for: "login-token" }, "Or log in with that link or a token"),
      h("div.login-row", {}, input, button),
    ),
  ));
  store.tell("session", null);
  input.focus({ preventScroll: true });
}

/** What a text logs in with: a link of `orchestrator page` that was pasted has a code. */
function given(text) {
  const hash = text.indexOf("#");
  const code = hash < 0 ? null : CODE.exec(text.slice(hash))?.[1];
  return code ? { code } : { token: text };
}

/** Say that nobody answers, and try again. A code was not used up then. */
function unreachable(error, code) {
  if (!store.session) {
    fill(form, h("div.login-card", {}, h("h1", {}, "Orchestrator"),
      h("p.login-problem", { role: "alert" }, sentence(error.message))));
    store.tell("session", null);
  }
  timer = setTimeout(() => begin(code), RETRY_SECONDS * 1000);
}

/** Show who is logged in. */
function show(session) {
  const readOnly = !store.may("send") && !store.may("operate");
  const facts = [
    ["May", may(session.scopes)],
    ["Accounts", session.accounts === null ? "all" : count(session.accounts.length, "account")],
    session.expires_at && ["Until", moment(session.expires_at)],
  ].filter(Boolean);
  fill(who,
    readOnly && h("span.chip.tone-off", { title: "This session may look, and change nothing" }, "read-only"),
    h("details.menu.login-menu", { on: { focusout: fold, keydown: foldByKey } },
      h("summary", { "aria-label": "Who is logged in", title: "Who is logged in" }, icon("person")),
      h("div.sheet", {},
        h("dl.pairs", {}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
        h("button", { type: "button", on: { click: logOut } }, "Log out"),
      ),
    ),
  );
}

function may(scopes) {
  const words = { read: "look", send: "send messages", operate: "operate accounts", metrics: "read metrics" };
  return scopes.map((scope) => words[scope] ?? scope).join(", ");
}

function fold(event) {
  if (!event.currentTarget.contains(event.relatedTarget)) event.currentTarget.open = false;
}

function foldByKey(event) {
  if (event.key !== "Escape" || !event.currentTarget.open) return;
  event.stopPropagation();
  event.currentTarget.open = false;
  event.currentTarget.querySelector("summary").focus();
}

async function logOut() {
  try {
    await remove(PATH);
  } catch (error) {
    if (error.status !== 401) {
      announce(error.message);
      return;
    }
  }
  ask("You are logged out.");
}
