// One card on the wall of codes: an account that waits for a scan, its code, and the seconds that are left.

import { account as path, get } from "./api.js";
import { announce, fill, h, text } from "./dom.js";
import { letters } from "./pairing.js";
import { store } from "./store.js";

/** A code that could not be had is asked for again after so many seconds, unless another one comes before. */
const AGAIN_SECONDS = 3;

/**
 * Make a card.
 * @param {string} name The account.
 * @param {{open: () => void}} hears `open` is called when somebody wants to see this code alone.
 */
export function card(name, { open }) {
  const shown = h("span.wall-shown", {});
  const words = h("span.wall-words", {});
  // The button's label is the name: a reader of screens would else hear the seconds, too, again and again.
  const code = h("span.wall-code", { "aria-hidden": "true" }, shown, words);
  const rest = h("span", {});
  const bar = h("span.wall-left", { "aria-hidden": "true" }, rest);
  const phone = h("span.wall-phone.soft", {});
  const seconds = h("span.wall-seconds.soft", { "aria-hidden": "true" });
  const button = h("button.wall-card", { type: "button", tabindex: "-1", on: { click: open } },
    code, bar, h("span.wall-name", {}, name), h("span.wall-line", { "aria-hidden": "true" }, phone, seconds));
  const element = h("li", { data: { name } }, button);

  let account = null;
  let visible = false;
  let until = null;
  let full = 60;
  let asked = 0;
  let kind = null;
  let over = false;
  let doneBefore = false;

  /** Take the code away. What is asked for at the moment comes too late then. */
  function clear() {
    asked += 1;
    until = kind = null;
    fill(shown);
  }

  async function fetchCode() {
    const mine = ++asked;
    const wanted = account.code_until;
    until = wanted;
    try {
      const found = await get(path(name, "/code"));
      const next = found.kind === "qr" ? await picture(wanted) : h("span.wall-letters", {}, letters(found.text));
      if (mine !== asked || over) return;
      kind = found.kind;
      full = Math.max(1, wanted - store.now());
      fill(shown, next);
    } catch {
      // It was used or replaced between the row and the question, or the gateway is busy.
      if (mine !== asked || over) return;
      clear();
      setTimeout(() => { if (!over && until === null) show(); }, AGAIN_SECONDS * 1000);
    }
    label();
  }

  async function picture(wanted) {
    const image = h("img", { alt: "", width: "256", height: "256", src: path(name, `/qr.png?until=${wanted}`) });
    // The new code takes the place of the old one only when it is there.
    await image.decode();
    return image;
  }

  function show() {
    const { how } = account;
    button.dataset.how = how;
    if (how !== "code" || !store.may("operate")) {
      if (until !== null || shown.firstChild) clear();
    } else if (visible && account.code_until !== until) {
      fetchCode();
    }
    if (how === "connected" && !doneBefore) announce(`${name} is connected`);
    doneBefore = how === "connected";
    text(phone, account.phone ?? "");
    label();
    tick();
  }

  function label() {
    const { how } = account;
    const has = kind !== null;
    const said = {
      code: store.may("operate") ? "The code comes …" : "Waits for a scan",
      soon: store.may("operate") ? soonWords(account) : "Waits for a scan",
      linking: "Linking …",
      connected: "Connected",
    }[how];
    words.hidden = has;
    text(words, said);
    bar.hidden = !has;
  }

  function tick() {
    if (kind === null || until === null) {
      text(seconds, "");
      return;
    }
    const left = Math.max(0, until - store.now());
    rest.style.width = `${Math.min(100, (100 * left) / full)}%`;
    button.classList.toggle("late", left < 6);
    text(seconds, left > 0 ? `${Math.ceil(left)} s` : "next …");
  }

  return {
    element,
    /** Take a change in; `account.how` says how it stands on the wall. */
    update(now) {
      account = now;
      show();
    },
    /** Hear whether it is on the screen: what is not there is not asked for. */
    onScreen(is) {
      visible = is;
      if (is && account !== null) show();
    },
    tick,
    reachable(is) { button.tabIndex = is ? 0 : -1; },
    focus() { button.focus(); },
    end() {
      over = true;
      clear();
    },
  };
}

/** What there is to say of an account that shows no code at the moment. */
function soonWords({ state, reason, next_at: nextAt }) {
  if (state === "backoff") {
    const left = nextAt === null ? null : Math.ceil(nextAt - store.now());
    return left !== null && left > 0 && left < 3600 ? `The next code comes in ${left} s` : "The next code comes soon";
  }
  if (state === "starting") return "Starting …";
  return reason?.includes("waits until somebody looks") ? "Asking for a code …" : "The code comes …";
}
