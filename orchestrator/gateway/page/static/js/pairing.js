// The code of one account, live: in the dialog that adds an account, and in the one that pairs it again.

import { account as path, get, post } from "./api.js";
import { run } from "./acts.js";
import { sentence } from "./command.js";
import { announce, fill, h, text } from "./dom.js";
import { store } from "./store.js";
import { tone, until } from "./words.js";

/** How often the page says that somebody looks; what it says is good for a minute. */
export const WATCHING_MS = 25_000;

/** The eight characters of a code, as phones show them: four, a dash, four. */
export const letters = (code) => code.replace(/^(.{4})-?(.{4})$/, "$1-$2");

const STEPS = {
  qr: ["Open WhatsApp on the phone.", "Settings, then Linked devices, then Link a device.", "Point the phone at the code."],
  link: ["Open WhatsApp on the phone.", "Settings, then Linked devices, then Link a device.",
    "Choose “Link with phone number instead”, and type the code."],
};

/** Errors that say that the code was used, has expired, or comes in a moment. */
const NOT_YET = new Set(["no_code", "code_pending"]);

/** What happens while there is no code, in words, by state. */
const MEANWHILE = {
  starting: "The account's process starts…",
  connecting: "The account connects…",
  pairing: "The code comes…",
  reconnecting: "The account connects again…",
  backoff: "The last round of codes is over. The next one comes by itself.",
};

/**
 * Show an account's code until it is connected.
 * @param {string} name The account.
 * @param {Object} [hears]
 * @param {(account: Object) => void} [hears.connected] Called once, when it is.
 * @param {(account: Object) => void} [hears.ended] Called when it has come to a state without codes.
 * @param {?number} [hears.before] Since when the account was connected before: that connection is not the new one.
 * @param {?("qr"|"link")} [hears.want] The kind of code that was asked for. Another one is of the process before.
 * @returns {{element: HTMLElement, end: () => void}} `end` must be called when the element goes.
 */
export function codeView(name, { connected = () => {}, ended = () => {}, before = null, want = null } = {}) {
  let picture = h("img.code-picture", { hidden: true });
  const typed = h("p.code-letters", { hidden: true, "aria-live": "polite" });
  const wait = h("p.code-wait", { role: "status" });
  const left = h("progress.code-left", { max: "60", value: "0", "aria-label": "Seconds left of this code", hidden: true });
  const seconds = h("p.code-seconds.soft", {});
  const steps = h("ol.code-steps", {});
  const element = h("div.pairing", {}, h("div.code-place", {}, picture, typed, wait), left, seconds, steps);
  let shownUntil = null;
  let fullTime = 60;
  let kind = null;
  let over = false;
  let asked = 0;
  let number = 0;

  function clear(words, more = null) {
    shownUntil = null;
    number += 1;
    picture.hidden = typed.hidden = left.hidden = true;
    picture.removeAttribute("src"); // a code that is over is on no screen, and in no memory of the page
    text(typed, "");
    text(seconds, "");
    wait.hidden = false;
    const face = `${words}\n${more}`;
    if (wait.dataset.face === face) return;
    wait.dataset.face = face;
    fill(wait, h("span", {}, sentence(words)), more ? h("span.code-why", {}, sentence(more)) : null);
  }

  async function fetchCode(end) {
    const mine = ++number;
    shownUntil = end;
    let code;
    try {
      code = await get(path(name, "/code"));
    } catch (problem) {
      // The code was used or has expired between the row and the question: the next row says what is.
      if (mine !== number) return;
      if (NOT_YET.has(problem.key)) shownUntil = null;
      else clear(problem.message);
      return;
    }
    if (mine !== number || over) return;
    if (want !== null && code.kind !== want) {
      clear(MEANWHILE.pairing); // and look again with the next second
      return;
    }
    fullTime = Math.max(1, end - store.now());
    kind = code.kind;
    if (kind === "qr") {
      const next = h("img.code-picture", {
        alt: `QR code of ${name}`, width: "264", height: "264", src: path(name, `/qr.png?until=${end}`),
      });
      // The new code replaces the old one in place, and only when it is there.
      const loaded = await next.decode().then(() => true, () => false);
      if (mine !== number || over) return;
      if (!loaded) {
        clear(MEANWHILE.pairing);
        return;
      }
      typed.hidden = true;
      picture.replaceWith(next);
      picture = next;
    } else {
      picture.hidden = true;
      text(typed, letters(code.text));
      typed.hidden = false;
    }
    wait.hidden = true;
    left.hidden = false;
    left.max = fullTime;
    if (steps.dataset.kind !== kind) {
      steps.dataset.kind = kind;
      fill(steps, STEPS[kind].map((step) => h("li", {}, step)));
    }
    tick();
  }

  function look() {
    if (over) return;
    const account = store.accounts.get(name);
    if (!account) {
      clear(MEANWHILE.starting);
      return;
    }
    if (account.state === "connected" && account.since !== before) {
      over = true;
      clear("");
      wait.classList.add("done");
      fill(wait, h("span.done-sign", { "aria-hidden": "true" }, "✓"), h("strong", {}, "Connected"),
        account.phone ? h("span.soft", {}, account.phone) : null);
      fill(steps);
      announce(`${name} is connected`);
      connected(account);
      return;
    }
    if (account.state === "pairing" && account.code_until && account.code_until > store.now() - 2) {
      if (account.code_until !== shownUntil) fetchCode(account.code_until);
      return;
    }
    if (account.state in MEANWHILE || account.state === "connected") {
      const next = account.next_at ? `next try ${until(account.next_at, store.now())}` : null;
      const why = account.state === "pairing" || account.state === "connected" ? null : account.reason;
      clear(MEANWHILE[account.state] ?? "The old process ends…", [why, next].filter(Boolean).join("; "));
      return;
    }
    clear(account.reason ?? `The account is ${account.state}.`);
    wait.dataset.tone = tone(account.state);
    fill(steps);
    delete steps.dataset.kind;
    ended(account);
  }

  async function sayWatching() {
    asked = Date.now();
    try {
      await post("/page/watching", { names: [name] });
    } catch { /* Without it, only accounts that wait until somebody looks show no code; they say so. */ }
  }

  function tick() {
    if (over) return;
    if (Date.now() - asked > WATCHING_MS) sayWatching();
    if (shownUntil === null || wait.hidden === false) return;
    const rest = Math.max(0, shownUntil - store.now());
    left.value = Math.min(fullTime, rest);
    text(seconds, rest > 0 ? `A new code comes in ${Math.ceil(rest)} s.` : "A new code comes…");
  }

  const stops = [
    store.on("accounts", ({ changed, all }) => { if (all || changed.has(name)) look(); }),
    store.on("tick", () => { tick(); look(); }),
  ];
  clear(MEANWHILE.starting);
  sayWatching();
  look();
  return { element, end() { over = true; number += 1; for (const stop of stops) stop(); } };
}

/** Buttons to choose the way of pairing; `value()` is "qr" or "code". */
export function chooseWay({ first = "qr" } = {}) {
  const group = `way-${Math.random().toString(36).slice(2)}`;
  const option = (value, words, hint) => h("label.way", {},
    h("input", { type: "radio", name: group, value, checked: value === first }),
    h("span", {}, h("strong", {}, words), h("span.soft", {}, hint)));
  const element = h("fieldset.ways", {}, h("legend", {}, "How to pair"),
    option("qr", "QR code", "Scan it with the account's phone."),
    option("code", "Eight characters", "Type them on the account's phone: also where the phone shows this page."));
  return { element, value: () => element.querySelector("input:checked").value };
}

/** Ask for a code by the way that was chosen. A QR code is what every account shows by itself. */
export const askForCode = (name, way, anyPhone = false) => run("repair", name, { pairing: way, any_phone: anyPhone });
