// Puts the page together.

import { fill, h, text } from "./dom.js";
import { icon } from "./icons.js";
import * as list from "./list.js";
import { onChange, parameters, view, VIEWS, go } from "./router.js";
import { store } from "./store.js";
import * as add from "./add.js";
import * as bulk from "./bulk.js";
import * as counts from "./counts.js";
import * as deliveries from "./deliveries.js";
import * as details from "./details.js";
import * as facts from "./facts.js";
import * as keys from "./keys.js";
import * as login from "./login.js";
import * as needs from "./needs.js";
import * as sending from "./sending.js";
import * as strips from "./strips.js";
import * as stream from "./stream.js";
import * as table from "./table.js";
import * as wall from "./wall.js";

const place = (id) => document.getElementById(id);
const shown = { codes: wall, deliveries, sending, fleet: facts };

function begin() {
  const buttons = Object.entries(VIEWS).map(([name, words]) => h("button", {
    type: "button", data: { view: name }, on: { click: () => go({ view: name === "accounts" ? "" : name }, true) },
  }, icon(name), h("span", {}, words), h("span.number", { hidden: true })));
  fill(place("views"), buttons);
  fill(place("help-button"), h("button.plain.square", {
    type: "button", "aria-label": "Keys", title: "Keys (?)", on: { click: keys.showHelp },
  }, icon("help")));
  strips.mount(place("fleet-strip"));
  counts.mount(place("counts"));
  needs.mount(place("needs"));
  bulk.mount(place("bulk"));
  table.mount(place("table"), place("search"));
  wall.mount(place("view-codes"));
  deliveries.mount(place("view-deliveries"));
  sending.mount(place("view-sending"));
  facts.mount(place("view-fleet"), place("banner"));
  details.mount(place("details"));
  add.mount(place("dialogs"));
  keys.mount();
  onChange(show);
  store.on("connection", connection);
  store.on("selection", selecting);
  store.on("session", (session) => {
    place("splash").hidden = true;
    place("login").hidden = session !== null;
    place("app").hidden = session === null;
    if (session === null) stream.close();
    else { show(); selecting(); stream.open(); }
  });
  login.mount(place("login"), place("session"));
}

function show() {
  const now = view();
  place("search").hidden = now !== "accounts" && now !== "codes";
  // Classes, and no `:has()`: each change of a line would make the browser look for what it may concern.
  place("top").classList.toggle("no-search", place("search").hidden);
  place("app").classList.toggle("with-details", Boolean(parameters().account));
  for (const name of Object.keys(VIEWS)) place(`view-${name}`).hidden = name !== now;
  for (const button of place("views").children) {
    if (button.dataset.view === now) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  // Views that ask the gateway for more than the stream tells do so only while somebody sees them.
  for (const [name, module] of Object.entries(shown)) module.seen?.(name === now && store.session !== null);
}

/** Keep the acts on what is selected at hand. Who may only look has nothing to select for. */
function selecting() {
  place("app").classList.toggle("looks-only", !store.may("operate"));
  place("view-accounts").classList.toggle("selecting", list.selected().size > 0 && store.may("operate"));
}

/** Say whether what is seen is what is. */
function connection(now) {
  const words = { open: "Live", connecting: "Connecting…", broken: "No connection: trying again" };
  place("connection").className = `is-${now}`;
  text(place("connection"), words[now]);
  document.body.classList.toggle("stale", now === "broken");
}

begin();
