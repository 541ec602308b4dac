// The table: a line for each account that is shown. Lines are patched where something changed. Of more than
// `WINDOW_FROM` lines, only those near the screen are there.

import { needOf, toneOf } from "./attention.js";
import { fill, h, soon } from "./dom.js";
import { cellOf, COLUMNS, fitting, PHONE_COLUMNS } from "./columns.js";
import * as list from "./list.js";
import { go, onChange, parameters } from "./router.js";
import { store } from "./store.js";
import * as tools from "./tools.js";

const WINDOW_FROM = 200;
/** Lines above and below the screen that are there already: a quick wheel finds no white. */
const AROUND = 16;
const PHONE = matchMedia("(max-width: 640px)");
/** The heights of a line, as in table.css: `--line-height` there. */
const LINE = 34;
const PHONE_LINE = 64;

let table;
let head;
let above;
let body;
let below;
let everyBox;
let columns = [];
let first = 0;
let last = 0;
const lines = new Map();

/** Build the table, what is above it, and the search. */
export function mount(place, search) {
  list.mount();
  tools.mountSearch(search, () => { list.moveTo(null); list.move(1); });
  everyBox = h("input", {
    type: "checkbox", "aria-label": "Select all accounts that are shown", on: { change: () => list.selectAll(everyBox.checked) },
  });
  head = h("tr", { role: "row", on: { click: sorted } });
  above = spacer();
  below = spacer();
  body = h("tbody", { role: "rowgroup", on: { click: clicked, focusin: followed } });
  table = h("table.accounts", { role: "table", "aria-label": "Accounts" }, h("thead", { role: "rowgroup" }, head), above, body, below);
  fill(place, tools.bar(arrange), table, tools.nothing());
  new ResizeObserver(soon(arrange)).observe(place);
  PHONE.addEventListener("change", arrange);
  addEventListener("scroll", soon(draw), { passive: true });
  addEventListener("resize", soon(draw));
  store.on("shown", () => draw(true));
  store.on("accounts", ({ changed }) => patch(changed));
  store.on("strips", () => patch(lines.keys()));
  store.on("selection", mark);
  store.on("cursor", reach);
  store.on("tick", tick);
  onChange(soon(mark));
  tools.onSort(() => { headings(); mark(); });
}

/** Choose the columns that fit, and begin anew with them if they are others. */
function arrange() {
  const { width } = table.parentElement.getBoundingClientRect();
  if (!width) return;
  const { hidden, wanted } = tools.choice();
  const now = PHONE.matches ? PHONE_COLUMNS : fitting(width, hidden, wanted);
  if (columns.length === now.length && columns.every((column, at) => column === now[at])) return draw();
  columns = now;
  headings();
  for (const line of lines.values()) line.element.remove();
  lines.clear();
  draw(true);
}

function headings() {
  const sort = parameters().sort ?? "name";
  const field = sort.replace(/^-/, "");
  fill(head, h("th.check", { role: "columnheader", scope: "col" }, everyBox), columns.map((column) => {
    const direction = field !== column.key ? null : sort.startsWith("-") ? "descending" : "ascending";
    return h("th", {
      role: "columnheader", scope: "col", class: [`c-${column.key}`, column.right && "right"].filter(Boolean).join(" "), "aria-sort": direction,
    }, column.key === "strip" ? h("span", {}, column.title)
      : h("button.plain", { type: "button", title: column.about, data: { sort: column.key } }, column.title));
  }));
  for (const part of [above, below]) part.firstChild.firstChild.colSpan = columns.length + 1;
  for (const [at, column] of columns.entries()) head.children[at + 1].style.width = column.grows ? "" : `${column.width}px`;
}

function sorted({ target }) {
  const key = target.closest("[data-sort]")?.dataset.sort;
  if (!key) return;
  const column = COLUMNS.find((one) => one.key === key);
  const [once, twice] = column.down ? [`-${key}`, key] : [key, `-${key}`];
  const now = (parameters().sort ?? "name") === once ? twice : once;
  go({ sort: now === "name" ? "" : now });
  head.querySelector(`[data-sort="${key}"]`)?.focus();
}

/** Put the lines there that are on the screen, or near it. */
function draw(anew = false) {
  if (!columns.length || !seen()) return;
  const names = list.shown();
  const height = PHONE.matches ? PHONE_LINE : LINE;
  let from = 0;
  let to = names.length;
  if (names.length > WINDOW_FROM) {
    const top = topOfLines();
    from = Math.max(0, Math.min(names.length, Math.floor(-top / height)) - AROUND);
    to = Math.min(names.length, Math.ceil((innerHeight - top) / height) + AROUND);
    to = Math.max(from, to);
  }
  if (anew !== true && from === first && to === last) return;
  first = from;
  last = to;
  place(names.slice(first, last));
  above.firstChild.firstChild.style.height = `${first * height}px`;
  below.firstChild.firstChild.style.height = `${(names.length - last) * height}px`;
  above.hidden = first === 0;
  below.hidden = last === names.length;
  body.classList.toggle("ends", below.hidden);
  table.setAttribute("aria-rowcount", String(names.length + 1));
  table.hidden = names.length === 0;
  mark();
}

/** Make the lines those of these names, with as few moves as possible: a line that moves loses the focus. */
function place(names) {
  const wanted = new Set(names);
  const focused = document.activeElement;
  for (const [name, line] of lines) {
    if (wanted.has(name)) continue;
    line.element.remove();
    lines.delete(name);
  }
  const now = Math.floor(store.now());
  let node = body.firstChild;
  for (const [at, name] of names.entries()) {
    let line = lines.get(name);
    if (line === undefined) {
      line = makeLine(name);
      lines.set(name, line);
      line.patch(store.accounts.get(name), now);
    }
    line.element.setAttribute("aria-rowindex", String(first + at + 2));
    if (line.element === node) node = node.nextSibling;
    else body.insertBefore(line.element, node);
  }
  if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
}

/** Make the line of an account, without values yet. */
function makeLine(name) {
  const box = h("input", { type: "checkbox", tabindex: "-1", "aria-label": `Select ${name}` });
  const link = h("a", { href: `/?account=${encodeURIComponent(name)}`, tabindex: "-1" }, name);
  const element = h("tr", { role: "row", data: { name } }, h("td.check", { role: "cell" }, box));
  const patches = [];
  const ticking = [];
  for (const column of columns) {
    const isName = column.key === "name";
    const cell = h(isName ? "th" : "td", {
      role: isName ? "rowheader" : "cell", scope: isName && "row", class: `c-${column.key}${column.right ? " right" : ""}`,
    });
    element.append(cell);
    if (isName) {
      cell.append(link);
      cell.title = name;
      continue;
    }
    const put = cellOf(column, cell);
    patches.push(put);
    if (column.ticks) ticking.push(put);
  }
  return {
    element, box, link,
    patch(account, now) {
      const need = needOf(account);
      const wanted = need === null ? "" : toneOf(need.kind);
      if (element.dataset.need !== wanted) element.dataset.need = wanted;
      for (const put of patches) put(account, now);
    },
    tick(account, now) {
      for (const put of ticking) put(account, now);
    },
  };
}

function patch(names) {
  const now = Math.floor(store.now());
  for (const name of names) {
    const account = store.accounts.get(name);
    if (account !== undefined) lines.get(name)?.patch(account, now);
  }
}

function tick() {
  if (!seen()) return;
  const now = Math.floor(store.now());
  for (const [name, line] of lines) {
    const account = store.accounts.get(name);
    if (account !== undefined) line.tick(account, now);
  }
}

/** Show what is selected, where the cursor is, and whose details are open. */
function mark() {
  const chosen = list.selected();
  const at = lines.has(list.cursor()) ? list.cursor() : body.firstChild?.dataset.name;
  const opened = parameters().account;
  for (const [name, line] of lines) {
    const on = chosen.has(name);
    if (line.box.checked !== on) line.box.checked = on;
    line.element.classList.toggle("chosen", on);
    line.element.classList.toggle("opened", name === opened);
    line.element.classList.toggle("at", name === list.cursor());
    // One stop for the tabulator, whatever the number of lines: j and k go on from there.
    const stop = name === at ? "0" : "-1";
    for (const part of [line.box, line.link]) if (part.getAttribute("tabindex") !== stop) part.setAttribute("tabindex", stop);
  }
  const names = list.shown();
  const count = names.reduce((sum, name) => sum + chosen.has(name), 0);
  everyBox.checked = count > 0 && count === names.length;
  everyBox.indeterminate = count > 0 && count < names.length;
}

function clicked(event) {
  const { target } = event;
  const name = target.closest("tr")?.dataset.name;
  if (name === undefined) return;
  const tag = target.closest("[data-tag]")?.dataset.tag;
  if (tag !== undefined) return tools.toggleTag(tag);
  if (target.closest(".check")) {
    const { box } = lines.get(name);
    // Beside the box counts as the box: on a phone, a finger is as large as both.
    list.select(name, target === box ? box.checked : !list.selected().has(name), event.shiftKey);
    list.moveTo(name);
    return;
  }
  if (event.ctrlKey || event.metaKey || getSelection().toString()) return;
  event.preventDefault();
  list.moveTo(name);
  go({ account: name }, true);
}

function followed({ target }) {
  const name = target.closest("tr")?.dataset.name;
  if (name !== undefined) list.moveTo(name);
}

/** Go where the cursor is: scroll there, and take the focus along. */
function reach(name) {
  if (name === null || !seen()) return mark();
  if (!lines.has(name)) {
    const at = list.shown().indexOf(name);
    if (at < 0) return mark();
    const height = PHONE.matches ? PHONE_LINE : LINE;
    scrollTo({ top: scrollY + topOfLines() + at * height - innerHeight / 2 });
    draw();
  }
  mark();
  const line = lines.get(name);
  if (!line) return;
  line.element.scrollIntoView({ block: "nearest" });
  if (!line.element.contains(document.activeElement)) line.link.focus({ preventScroll: true });
}

/** Where the first of all lines begins, from the upper edge of the screen. */
const topOfLines = () => table.getBoundingClientRect().top + table.tHead.offsetHeight;

/** Whether this view is the one that is shown. */
const seen = () => table.parentElement.offsetParent !== null;

function spacer() {
  return h("tbody", { "aria-hidden": "true", hidden: true }, h("tr", {}, h("td")));
}
