// The dialogs that pair an account that there is: ask first, then its code, live.

import { command, consequence } from "./acts.js";
import { copyButton } from "./command.js";
import { show } from "./dialog.js";
import { h, text } from "./dom.js";
import { askForCode, chooseWay, codeView } from "./pairing.js";
import { go } from "./router.js";
import { store } from "./store.js";

/** Show the code of an account that waits for a scan, in a dialog, until it is connected. */
export function showCode(name) {
  const dialog = show({ title: `Code of ${name}`, body: h("p", {}, "…") });
  follow(dialog, name);
  return dialog;
}

/** Ask whether an account is to be paired again, and how; then show its code in the same dialog. */
export function pairAgain(account) {
  const { name } = account;
  const ways = chooseWay({ first: "qr" });
  const anyPhone = h("input", { type: "checkbox" });
  const problem = h("p.problem", { role: "alert", hidden: true });
  const no = h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel");
  const yes = h("button.primary", { type: "button", on: { click: begin } }, "Pair again");
  const dialog = show({
    title: `Pair ${name} again?`,
    body: [
      h("p", {}, consequence("repair", account)),
      ways.element,
      h("label.check", {}, anyPhone, h("span", {}, "Another phone than before may be linked")),
      problem,
    ],
    buttons: [copyButton(command("repair", name), "Copy as command"), h("span.grow"), no, yes],
    focus: no,
  });
  async function begin() {
    yes.disabled = true;
    problem.hidden = true;
    const before = store.accounts.get(name)?.since;
    try {
      await askForCode(name, ways.value(), anyPhone.checked);
    } catch (error) {
      yes.disabled = false;
      text(problem, error.message);
      problem.hidden = false;
      return;
    }
    dialog.retitle(`Code of ${name}`);
    follow(dialog, name, { before, want: ways.value() === "code" ? "link" : "qr" });
  }
  return dialog;
}

/**
 * Put an account's code into a dialog.
 * @param {Object} dialog As `show` returns it.
 * @param {string} name The account.
 * @param {Object} [how]
 * @param {?number} [how.before] Since when the account is as it was before the new code was asked for.
 * @param {Node[]} [how.more] Further buttons for when it is connected.
 * @param {?string} [how.trouble] What did not go as it was wished.
 * @param {?("qr"|"link")} [how.want] The kind of code that is waited for; another one is an old one.
 */
export function follow(dialog, name, { before = null, more = [], trouble = null, want = null } = {}) {
  const done = h("button", { type: "button", on: { click: () => dialog.close() } }, "Close");
  const details = h("button", {
    type: "button", on: { click: () => { dialog.close(); go({ account: name }, true); } },
  }, "Details");
  // The old process may end a moment after the order: what it says until then is not about the new code.
  let again = null;
  const remark = trouble ? h("p.problem", { role: "alert" }, trouble) : null;
  const view = codeView(name, {
    before,
    want,
    ended: (account) => {
      if (again) return;
      again = h("button.primary", { type: "button", on: { click: () => { dialog.close(); pairAgain(account); } } }, "Pair again…");
      done.before(again);
    },
    connected: () => {
      done.className = "primary";
      done.textContent = "Done";
      dialog.set([remark, view.element], [details, h("span.grow"), ...more, done]);
      done.focus();
    },
  });
  dialog.set([remark, view.element], [details, h("span.grow"), done]);
  dialog.closed.then(view.end);
}
