// What stands above the table: the search, the tags, the choice of columns, and on a phone the order.

import { fill, h, text } from "./dom.js";
import { icon } from "./icons.js";
import { COLUMNS } from "./columns.js";
import { narrows } from "./filter.js";
import * as list from "./list.js";
import { go, listOf, onChange, parameters, view } from "./router.js";
import { store } from "./store.js";
import { count } from "./words.js";

const KEPT = "orchestrator-columns";
/** Browsers count how often an address is changed: the search goes there when the typing pauses. */
const TYPING_MS = 120;

let hidden = new Set();
let wanted = new Set();
let searchBox;
const sortListeners = [];

/** Which usual columns somebody hid, and which extra ones somebody wants. */
export const choice = () => ({ hidden, wanted });
/** Hear when another order is wanted. */
export const onSort = (listener) => sortListeners.push(listener);
/** Put the cursor into the search. */
export function search() {
  if (view() !== "accounts" && view() !== "codes") go({ view: "" }, true);
  searchBox.focus();
  searchBox.select();
}

/** Filter by a tag, or no longer. */
export function toggleTag(tag) {
  const tags = listOf(parameters().tag);
  go({ tag: (tags.includes(tag) ? tags.filter((one) => one !== tag) : [...tags, tag]).join(",") });
}

/** Take the filter away. */
export const clear = () => go({ q: "", state: "", tag: "", need: "" });

/** Build the search; `enter` goes to what was found. */
export function mountSearch(place, enter) {
  let timer = 0;
  const write = () => { clearTimeout(timer); go({ q: searchBox.value.trim() }); };
  searchBox = h("input", {
    type: "search", placeholder: "Search", "aria-label": "Search accounts by name, number, tag, proxy or reason",
    "aria-keyshortcuts": "/", autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: "100", enterkeyhint: "search",
    on: {
      input: () => { clearTimeout(timer); timer = setTimeout(write, TYPING_MS); },
      keydown: (event) => {
        if (event.key === "Enter") { write(); enter(); }
        else if (event.key === "Escape") {
          event.stopPropagation();
          event.preventDefault();
          if (searchBox.value) { searchBox.value = ""; write(); } else searchBox.blur();
        }
      },
    },
  });
  searchBox.value = parameters().q ?? "";
  fill(place, icon("search"), searchBox, h("kbd", { "aria-hidden": "true" }, "/"));
  onChange(({ q }) => { if (document.activeElement !== searchBox) searchBox.value = q ?? ""; });
}

/** Build the line above the table; `changed` is called when other columns are wanted. */
export function bar(changed) {
  recall();
  const number = h("p#number.soft", {});
  const chips = h("div.chips");
  const tags = h("select", { "aria-label": "Filter by tag", on: { change: () => { if (tags.value) toggleTag(tags.value); tags.value = ""; } } });
  const sort = h("select#sort", { "aria-label": "Sort by", on: { change: () => go({ sort: sort.value === "name" ? "" : sort.value }) } },
    COLUMNS.filter(({ key, extra }) => key !== "strip" && key !== "tags" && !extra).map(({ key, title, about, down }) =>
      h("option", { value: down ? `-${key}` : key }, `Sort: ${about ?? title}`)));
  const element = h("div#tools", {}, number, chips, h("span.grow"), tags, sort, columnMenu(changed));

  let tagsBefore = null;
  const show = () => {
    const filter = list.current();
    const all = store.accounts.size;
    const shown = list.shown().length;
    text(number, narrows(filter) ? `${shown.toLocaleString("en-US")} of ${count(all, "account")}` : count(all, "account"));
    fill(chips, filter.tags.map((tag) => h("button.tag", {
      type: "button", "aria-label": `Filter by tag ${tag} no longer`, on: { click: () => toggleTag(tag) },
    }, tag, icon("close"))), narrows(filter) && h("button.plain", { type: "button", on: { click: clear } }, "Clear filter"));
  };
  const showTags = () => {
    const amounts = new Map();
    for (const { tags: own } of store.accounts.values()) for (const tag of own ?? []) amounts.set(tag, (amounts.get(tag) ?? 0) + 1);
    const chosen = list.current().tags;
    const names = [...amounts.keys()].filter((tag) => !chosen.includes(tag)).sort();
    const signature = JSON.stringify(names.map((name) => [name, amounts.get(name)]));
    if (signature === tagsBefore) return;
    tagsBefore = signature;
    tags.hidden = names.length === 0;
    fill(tags, h("option", { value: "" }, "Tag…"), names.map((name) => h("option", { value: name }, `${name} (${amounts.get(name)})`)));
  };
  let sortBefore = parameters().sort;
  onChange(({ sort: now }) => {
    show();
    showTags();
    if (now === sortBefore) return;
    sortBefore = now;
    sort.value = now ?? "name";
    for (const listener of sortListeners) listener();
  });
  sort.value = sortBefore ?? "name";
  store.on("shown", () => { show(); showTags(); });
  store.on("accounts", ({ all, gone }) => { if (all || gone.size) { show(); showTags(); } });
  show();
  showTags();
  return element;
}

/** Build what stands there instead of a table without lines. */
export function nothing() {
  const words = h("p");
  const button = h("button", { type: "button", on: { click: clear } }, "Clear filter");
  const element = h("div.empty", { hidden: true }, words, button);
  const show = () => {
    element.hidden = list.shown().length > 0;
    button.hidden = !narrows(list.current());
    if (store.hello === null) text(words, "Waiting for the gateway…");
    else if (store.accounts.size) text(words, "No account matches.");
    else text(words, "There are no accounts yet. Add the first one.");
    if (!store.accounts.size) button.hidden = true;
  };
  for (const kind of ["shown", "accounts", "hello"]) store.on(kind, show);
  onChange(show);
  show();
  return element;
}

function columnMenu(changed) {
  const boxes = COLUMNS.filter(({ rank }) => rank !== 0).map(({ key, title, about, extra }) => {
    const box = h("input", {
      type: "checkbox", on: {
        change: () => {
          const set = extra ? wanted : hidden;
          if (box.checked === Boolean(extra)) set.add(key);
          else set.delete(key);
          keep();
          changed();
        },
      },
    });
    box.checked = extra ? wanted.has(key) : !hidden.has(key);
    return h("label.choice", {}, box, h("span", {}, title, about && h("span.soft", {}, ` ${about}`)));
  });
  const menu = h("details#columns.menu", {}, h("summary", {}, icon("columns"), "Columns"),
    h("div.sheet", {}, boxes, h("p.soft", {}, "Where room is short, the less important ones are left out.")));
  addEventListener("pointerdown", ({ target }) => { if (menu.open && !menu.contains(target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  return menu;
}

/** The choice of columns stays in this browser. A browser that keeps nothing shows the usual ones. */
function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    const known = new Set(COLUMNS.map(({ key }) => key));
    hidden = new Set((kept.hidden ?? []).filter((key) => known.has(key)));
    wanted = new Set((kept.wanted ?? []).filter((key) => known.has(key)));
  } catch {
    hidden = new Set();
    wanted = new Set();
  }
}

function keep() {
  try {
    localStorage.setItem(KEPT, JSON.stringify({ hidden: [...hidden], wanted: [...wanted] }));
  } catch {
    // The choice then holds until the page is left.
  }
}
