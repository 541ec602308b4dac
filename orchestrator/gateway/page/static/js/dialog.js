// Dialogs. The browser keeps the focus inside and closes on Esc; here a dialog gets its parts, is removed at its
// end, and gives the focus back to where it was.

import { fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { store } from "./store.js";

let numbers = 0;
const shown = new Set();

/**
 * Show a dialog above everything else.
 * @param {Object} what
 * @param {string} what.title What it is about; its label for screen readers, too.
 * @param {Node|Array} what.body What is in it.
 * @param {Array} [what.buttons] What is at its foot, the most important one last.
 * @param {"narrow"|"wide"} [what.size] Narrower or wider than usual.
 * @param {HTMLElement} [what.focus] What has the focus first; else the first field or button.
 * @returns {{element: HTMLDialogElement, close: (answer?: any) => void, closed: Promise<any>,
 *     set: (body: Node|Array, buttons?: Array) => void, retitle: (title: string) => void}} `closed` comes with
 *     the answer: undefined if the dialog was left by Esc or its cross. `set` puts other parts into it.
 */
export function show({ title, body, buttons = [], size, focus }) {
  numbers += 1;
  const before = document.activeElement;
  const heading = h("h2", { id: `dialog-${numbers}` }, title);
  const middle = h("div.dialog-body.stack", {}, body);
  const foot = h("footer", {}, buttons);
  foot.hidden = buttons.length === 0;
  const cross = h("button.plain.square", {
    type: "button", "aria-label": "Close", title: "Close (Esc)", on: { click: () => close() },
  }, icon("close"));
  const element = h("dialog", { "aria-labelledby": heading.id, data: size ? { size } : {} },
    h("header", {}, heading, cross), middle, foot);
  let answer;
  let settle;
  const closed = new Promise((resolve) => { settle = resolve; });

  function close(value) {
    if (!element.open) return;
    answer = value;
    element.close();
  }
  element.addEventListener("close", () => {
    shown.delete(close);
    element.remove();
    // What had the focus may be gone meanwhile: a row whose account is not shown any more, for instance.
    const back = before?.isConnected && before !== document.body ? before : document.getElementById("main");
    back?.focus({ preventScroll: true });
    settle(answer);
  });
  // Keys inside a dialog are its own: the page's keys are about what is behind it.
  element.addEventListener("keydown", (event) => event.stopPropagation());

  document.getElementById("dialogs").append(element);
  shown.add(close);
  element.showModal();
  const first = focus ?? middle.querySelector("[autofocus], input:not([type=hidden]), select, textarea")
    ?? foot.querySelector("button:not(:disabled)") ?? cross;
  first.focus();
  return {
    element,
    close,
    closed,
    retitle(words) { heading.textContent = words; },
    set(parts, others = []) {
      const held = element.contains(document.activeElement) && document.activeElement !== cross;
      fill(middle, parts);
      fill(foot, others);
      foot.hidden = others.length === 0;
      // The focus would fall out of the dialog together with the button that had it.
      if (held && !element.contains(document.activeElement)) {
        (middle.querySelector("input, select, textarea") ?? foot.querySelector("button:not(:disabled)") ?? cross).focus();
      }
    },
  };
}

/**
 * Ask before something is done.
 * @param {Object} what
 * @param {string} what.title The question, such as "Stop support?".
 * @param {Node|string|Array} what.body What will happen.
 * @param {string} what.act What the button says, such as "Stop".
 * @param {boolean} [what.danger] Whether something is lost by it. Then "Cancel" has the focus.
 * @param {Node} [what.more] Further parts, such as the command that does the same.
 * @returns {Promise<boolean>} Whether it is to be done.
 */
export async function ask({ title, body, act, danger = false, more = null }) {
  const no = h("button", { type: "button", on: { click: () => dialog.close(false) } }, "Cancel");
  const yes = h(danger ? "button.danger" : "button.primary", { type: "button", on: { click: () => dialog.close(true) } }, act);
  const text = typeof body === "string" ? h("p", {}, body) : body;
  const dialog = show({ title, body: [text, more], buttons: [no, yes], size: "narrow", focus: danger ? no : yes });
  return (await dialog.closed) === true;
}

// Nothing of a session stays on the screen after it.
store.on("session", (session) => { if (session === null) for (const close of [...shown]) close(); });
