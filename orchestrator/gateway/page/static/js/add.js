// Adds an account and pairs it, in one dialog, from the name to "connected".

import { line, commandLine } from "./command.js";
import { post } from "./api.js";
import { show } from "./dialog.js";
import { h, text } from "./dom.js";
import { icon } from "./icons.js";
import { askForCode, chooseWay } from "./pairing.js";
import { follow } from "./repair.js";
import { store } from "./store.js";

/** The form of a name, as `accounts/names.py` has it: the gateway says the last word. */
const NAME = "[a-z0-9][a-z0-9._\\-]{0,62}";
/** As many tags an account may have, as `accounts/settings.py` has it. */
const MOST_TAGS = 20;
const BETWEEN_TAGS = /[\s,;]+/;

/**
 * Tell whether a text is a phone number with + and country code, as people write one. The service looks closer, but does
 * not say to programs what is wrong, since an error must not quote a number.
 */
export const isNumber = (text) => /^\+[1-9][0-9]{6,14}$/.test(text.replaceAll(/[ ()./-]/g, ""));

/** Whether a text can be the name of an account. */
export const isName = (text) => new RegExp(`^${NAME}$`).test(text);

/** Build this part of the page: the button beside the search. */
export function mount() {
  const button = h("button.primary.add-account", {
    type: "button", hidden: true, "aria-label": "Add account", title: "Add an account", on: { click: () => begin() },
  }, icon("plus"), h("span", {}, "Add account"));
  document.getElementById("search").after(button);
  // Who sees some accounts only would not see a new one.
  store.on("session", (session) => { button.hidden = !store.may("operate") || session.accounts !== null; });
}

/** Show the dialog. */
export function begin() {
  const field = (label, input, hint) => {
    input.id = `add-${input.name}`;
    const about = h("p.hint.soft", { id: `add-${input.name}-hint` }, hint);
    input.setAttribute("aria-describedby", about.id);
    return h("div.add-field", {}, h("label", { for: input.id }, label), input, about);
  };
  const name = h("input", {
    name: "name", required: true, pattern: NAME, maxlength: "63", autocomplete: "off", autocapitalize: "none",
    spellcheck: "false",
  });
  const phone = h("input", { name: "phone", type: "tel", maxlength: "40", autocomplete: "off", placeholder: "+49 151 00001" });
  const tags = h("input", { name: "tags", maxlength: "400", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const ways = chooseWay({ first: "qr" });
  const problem = h("p.problem", { role: "alert", hidden: true });
  const same = h("details.same", { on: { toggle: () => check() } }, h("summary", {}, "As a command"));
  const no = h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel");
  const yes = h("button.primary", { type: "submit", form: "add-form" }, "Add and pair");
  const form = h("form.add", { id: "add-form", novalidate: true, on: { submit: send, input: check, change: check } },
    field("Name", name, "a–z, 0–9, dot, dash and underscore. Commands, webhooks and files know the account by this name."),
    field("Phone number", phone, "With + and country code. No other phone can be linked then. It may stay empty for a QR code."),
    ways.element,
    field("Tags", tags, "Words to filter by, with spaces between them. They may stay empty."),
    problem, same);
  const dialog = show({ title: "Add an account", body: form, buttons: [no, yes], focus: name });
  check();

  function values() {
    const given = { name: name.value.trim() };
    if (phone.value.trim()) given.phone = phone.value.trim();
    const words = tags.value.toLowerCase().split(BETWEEN_TAGS).filter(Boolean);
    if (words.length) given.tags = [...new Set(words)];
    return given;
  }
  function check() {
    phone.required = ways.value() === "code";
    const given = values();
    const words = ["orchestrator", "add", given.name || "NAME", ...(given.phone ? ["--phone", given.phone.replaceAll(" ", "")] : []),
      ...(given.tags ?? []).flatMap((tag) => ["--tag", tag])];
    same.replaceChildren(same.firstChild, ...(same.open ? [commandLine(line(...words))] : []));
  }
  function refuse(words, where) {
    text(problem, words);
    problem.hidden = false;
    if (where) {
      where.setAttribute("aria-invalid", "true");
      where.focus();
    }
  }
  async function send(event) {
    event.preventDefault();
    problem.hidden = true;
    for (const input of [name, phone, tags]) input.removeAttribute("aria-invalid");
    const given = values();
    const way = ways.value();
    if (!isName(given.name)) {
      refuse("A name has 1 to 63 of a–z, 0–9, dot, dash and underscore, the first a letter or digit.", name);
      return;
    }
    if (store.accounts.has(given.name)) {
      refuse(`There is an account ${given.name} already.`, name);
      return;
    }
    if (given.phone && !isNumber(given.phone)) {
      refuse("A phone number begins with + and the country code, such as +49 151 00001.", phone);
      return;
    }
    if ((given.tags ?? []).length > MOST_TAGS || !(given.tags ?? []).every(isName)) {
      refuse(`There may be up to ${MOST_TAGS} tags, each of a–z, 0–9, dot, dash and underscore.`, tags);
      return;
    }
    if (way === "code" && !given.phone) {
      refuse("Eight characters need the phone number: WhatsApp sends a notice to that phone.", phone);
      return;
    }
    yes.disabled = true;
    yes.textContent = "Adding…";
    try {
      await post("/api/accounts", given);
    } catch (error) {
      yes.disabled = false;
      yes.textContent = "Add and pair";
      if (error.key.startsWith("config_")) same.open = true; // the command may do what the service may not
      refuse(error.message, { bad_name: name, account_exists: name, phone_taken: phone, bad_number: phone }[error.key]);
      return;
    }
    let trouble = null;
    if (way === "code") {
      try {
        await askForCode(given.name, "code");
      } catch (error) {
        trouble = `${given.name} is added, and shows a QR code: ${error.message}`;
      }
    }
    dialog.retitle(`Pair ${given.name}`);
    const another = h("button", { type: "button", on: { click: () => { dialog.close(); begin(); } } }, "Add another");
    follow(dialog, given.name, { more: [another], trouble, want: way === "code" && !trouble ? "link" : null });
  }
  return dialog;
}
