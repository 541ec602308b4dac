// The columns of the table: what each shows, how wide it is, and which ones fit.

import { h, text } from "./dom.js";
import { age, size, tone, until } from "./words.js";
import * as strips from "./strips.js";

const number = new Intl.NumberFormat("en-US");
const shortNumber = (value) => (value === null ? "–" : number.format(value));

/** When the account tries next, or until when its code is good. */
export function next(account, now) {
  if (account.state === "pairing" && account.code_until > now) return `${account.code_until - now}s left`;
  if (account.held) return "held";
  return account.next_at === null ? "–" : until(account.next_at, now);
}

/** Where an account's proxy is, without the scheme: what tells one from another. */
const place = (proxy) => (proxy === null ? "–" : proxy.replace(/^[a-z0-9+]+:\/\//, ""));

const ago = (field) => (account, now) => (account[field] === null ? "–" : age(account[field], now));
const amount = (field) => (account) => shortNumber(account[field]);

/**
 * The columns in their order. `rank` says which go first when room is short: the highest; those with 0 stay. Those with
 * `extra` are shown only where somebody wants them, and then stay for long. `words` gives the text of a cell; `ticks` says
 * that the text changes with the time.
 */
export const COLUMNS = [
  { key: "name", title: "Name", width: 150, grows: true, rank: 0 },
  { key: "state", title: "State", width: 122, rank: 0 },
  { key: "since", title: "Since", width: 66, rank: 1, right: true, ticks: true, words: ago("since"), down: true },
  { key: "strip", title: "24 hours", width: 144, rank: 3 },
  { key: "phone", title: "Number", width: 78, rank: 5, words: (account) => account.phone ?? "–" },
  { key: "last_in", title: "In", about: "Last message in", width: 50, rank: 4, right: true, ticks: true, words: ago("last_in"), down: true },
  { key: "last_out", title: "Out", about: "Last message out", width: 50, rank: 4, right: true, ticks: true, words: ago("last_out"), down: true },
  { key: "waiting", title: "Waiting", about: "Events that a consumer has not had yet", width: 76, rank: 4, right: true, words: amount("waiting"), down: true },
  { key: "next_at", title: "Next try", width: 82, rank: 2, right: true, ticks: true, words: next },
  { key: "memory", title: "Memory", width: 74, rank: 6, right: true, words: (account) => (account.memory === null ? "–" : size(account.memory)), down: true },
  { key: "cpu", title: "CPU", about: "Percent of a core", width: 54, rank: 7, right: true, words: (account) => (account.cpu === null ? "–" : `${account.cpu.toFixed(account.cpu < 10 ? 1 : 0)}%`), down: true },
  { key: "proxy", title: "Proxy", width: 120, rank: 9, words: (account) => place(account.proxy) },
  { key: "tags", title: "Tags", width: 124, grows: true, rank: 8 },
  { key: "queued", title: "Outbox", about: "Messages that wait to be sent", width: 72, extra: true, right: true, words: amount("queued"), down: true },
  { key: "stored", title: "Stored", about: "Entries in the inbox", width: 80, extra: true, right: true, words: amount("stored"), down: true },
  { key: "reason", title: "Why", width: 220, grows: true, extra: true, words: (account) => account.reason ?? "" },
];

/** What a phone shows, in two lines an account: table.css says where. */
export const PHONE_COLUMNS = COLUMNS.filter(({ key }) => ["name", "state", "since", "strip", "phone", "next_at"].includes(key));

/** The rank of an extra column that somebody wants. */
const ASKED_FOR = 1;

/** The room of the check box at the begin of a row. */
const CHECK_WIDTH = 36;

/**
 * Choose the columns that fit.
 * @param {number} width Pixels of the table.
 * @param {Set<string>} hidden Keys of usual columns that somebody does not want.
 * @param {Set<string>} wanted Keys of extra columns that somebody wants.
 */
export function fitting(width, hidden, wanted) {
  const left = COLUMNS.filter(({ key, extra }) => (extra ? wanted.has(key) : !hidden.has(key)));
  let needed = CHECK_WIDTH + left.reduce((sum, column) => sum + column.width, 0);
  while (needed > width && left.length > 1) {
    // What somebody asked for goes after what is there anyway.
    const rank = (column) => (column.extra ? ASKED_FOR : column.rank);
    const least = left.reduce((one, other) => (rank(other) >= rank(one) ? other : one));
    if (rank(least) === 0) break;
    left.splice(left.indexOf(least), 1);
    needed -= least.width;
  }
  return left;
}

/** Build what is in a cell of a column; what this returns puts an account into the cell. */
export function cellOf(column, cell) {
  if (column.key === "state") {
    const mark = h("span.state");
    cell.append(mark);
    return (account) => {
      const wanted = `state tone-${tone(account.state)}`;
      if (mark.className !== wanted) mark.className = wanted;
      text(mark, account.state);
      setTitle(cell, account.reason);
    };
  }
  if (column.key === "strip") {
    const strip = strips.make();
    cell.append(strip.element);
    return (account) => strip.show(account);
  }
  if (column.key === "tags") {
    let before = null;
    return (account) => {
      const tags = account.tags ?? [];
      const words = tags.join(",");
      if (words === before) return;
      before = words;
      cell.replaceChildren(...tags.map((tag) => h("button.tag", { type: "button", data: { tag }, tabindex: "-1", title: `Show only ${tag}` }, tag)));
    };
  }
  if (column.key === "proxy" || column.key === "reason") {
    return (account, now) => {
      const words = column.words(account, now);
      text(cell, words);
      cell.classList.toggle("none", words === "–");
      setTitle(cell, account[column.key]);
    };
  }
  return (account, now) => {
    const words = column.words(account, now);
    text(cell, words);
    cell.classList.toggle("none", words === "–" || words === "0");
  };
}

function setTitle(cell, words) {
  if (words === null) cell.removeAttribute("title");
  else if (cell.title !== words) cell.title = words;
}
