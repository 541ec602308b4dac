// What the keyboard does.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import * as list from "./list.js";
import { go, parameters, view, VIEWS } from "./router.js";
import { store } from "./store.js";
import * as tools from "./tools.js";

const HELP = [
  ["/", "Search"],
  ["j k", "Next and previous account"],
  ["Enter", "Open the account"],
  ["x", "Select the account; with shift all from the last one"],
  ["Esc", "Close, then clear the selection, then clear the filter"],
  ["1 – 5", `Go to ${Object.values(VIEWS).join(", ")}`],
  ["?", "This help"],
];

let help;

/** Listen to keys. */
export function mount() {
  const close = h("button.plain.square", { type: "button", "aria-label": "Close", on: { click: () => help.close() } }, icon("close"));
  help = h("dialog#help", { "aria-labelledby": "help-title" }, h("header", {}, h("h2#help-title", {}, "Keys"), close),
    h("dl.keys", {}, HELP.map(([keys, words]) => [
      h("dt", {}, keys.split(" ").map((key) => (key === "–" ? "–" : h("kbd", {}, key)))), h("dd", {}, words),
    ])));
  document.getElementById("dialogs").append(help);
  addEventListener("keydown", pressed);
}

/** Show which keys there are. */
export function showHelp() {
  if (!help.open) help.showModal();
}

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.getElementById("app").hidden || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  if (act(event)) event.preventDefault();
}

/** Do what a key stands for; tells whether there was something to do. */
function act({ key, shiftKey, target }) {
  const views = Object.keys(VIEWS);
  if (key === "/") tools.search();
  else if (key === "?") showHelp();
  else if (key === "Escape") return leave();
  else if (/^[1-9]$/.test(key) && views[key - 1]) go({ view: key === "1" ? "" : views[key - 1] }, true);
  else if (view() !== "accounts") return false;
  else if (key === "j" || key === "k") move(key === "j" ? 1 : -1);
  else if ((key === "x" || key === "X") && list.cursor() !== null && store.may("operate")) list.select(list.cursor(), !list.selected().has(list.cursor()), shiftKey);
  else if (key === "Enter" && list.cursor() !== null && target.closest("button, a, summary, input") === null) go({ account: list.cursor() }, true);
  else return false;
  return true;
}

/** Go to another account. Details that are open are then those of the other. */
function move(by) {
  list.move(by);
  if (parameters().account && list.cursor() !== null) go({ account: list.cursor() });
}

function leave() {
  const menu = document.querySelector("details.menu[open]");
  if (menu) menu.open = false;
  else if (parameters().account) go({ account: "" }, true);
  else if (list.selected().size) list.selectAll(false);
  else tools.clear();
  return true;
}
