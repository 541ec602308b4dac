"use strict";
// Shows the description of the API. Everything is put in as text, never as HTML, and nothing is loaded from
// elsewhere. The token stays in this page's memory.

const byId = (id) => document.getElementById(id);

function make(tag, words, attributes = {}) {
  const element = document.createElement(tag);
  if (words !== undefined) element.textContent = words;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function resolve(description, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((found, key) => found[key], description);
}

function typeOf(description, schema, depth = 0) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(description, one, depth)).join(" or ");
  if (schema.type === "array") return "list of " + typeOf(description, schema.items, depth + 1);
  return schema.type || "anything";
}

function table(heads, rows) {
  const element = make("table");
  const head = element.createTHead().insertRow();
  for (const one of heads) head.append(make("th", one));
  const body = element.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const [index, one] of row.entries()) line.insertCell().append(make(index ? "span" : "code", one));
  }
  return element;
}

function fields(description, schema) {
  const whole = resolve(description, schema);
  const required = whole.required || [];
  return Object.entries(whole.properties || {}).map(([name, one]) => [
    name + (required.includes(name) ? " *" : ""),
    typeOf(description, one),
    one.description || (one.$ref ? resolve(description, one).description || "" : ""),
  ]);
}

function example(description, schema, depth = 0) {
  const whole = resolve(description, schema);
  if (depth > 6) return null;
  if (whole.example !== undefined) return whole.example;
  if (whole.examples && whole.examples.length) return whole.examples[0];
  if (whole.default !== undefined) return whole.default;
  if (whole.anyOf) return example(description, whole.anyOf[0], depth + 1);
  if (whole.enum) return whole.enum[0];
  if (whole.const !== undefined) return whole.const;
  if (whole.type === "array") return [example(description, whole.items, depth + 1)];
  if (whole.type === "object") {
    const found = {};
    for (const [name, one] of Object.entries(whole.properties || {})) found[name] = example(description, one, depth + 1);
    return found;
  }
  return { string: "…", integer: 0, number: 0, boolean: false }[whole.type] ?? null;
}

function body(description, about, heading) {
  const parts = [];
  for (const [kind, content] of Object.entries(about.content || {})) {
    parts.push(make("h4", `${heading} (${kind})`));
    const rows = fields(description, content.schema);
    if (rows.length) {
      parts.push(table(["field", "type", "meaning"], rows));
      parts.push(make("pre", JSON.stringify(example(description, content.schema), null, 2)));
    }
  }
  return parts;
}

function route(description, path, method, about) {
  const box = make("details", undefined, { id: about.operationId });
  const head = make("summary");
  head.append(make("span", method.toUpperCase(), { class: `method ${method}` }));
  head.append(make("span", path, { class: "path" }), document.createTextNode(` — ${about.summary || ""}`));
  box.append(head, make("p", about.description || "", { class: "about" }));
  const parameters = (about.parameters || []).map((one) => [
    one.name + (one.required ? " *" : ""),
    one.in,
    typeOf(description, one.schema),
    one.description || "",
  ]);
  if (parameters.length) box.append(table(["parameter", "in", "type", "meaning"], parameters));
  if (about.requestBody) box.append(...body(description, about.requestBody, "Body"));
  const errors = [];
  for (const [status, given] of Object.entries(about.responses)) {
    const answer = resolve(description, given);
    if (Number(status) < 400) box.append(make("p", `${status}: ${answer.description}`), ...body(description, answer, "Answer"));
    else errors.push([status, answer.description]);
  }
  box.append(table(["status", "keys of errors"], errors));
  return box;
}

function show(description) {
  const contents = byId("contents");
  const routes = byId("routes");
  contents.replaceChildren();
  routes.replaceChildren(make("p", description.info.description, { class: "about" }));
  const tags = new Map();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const tag = (about.tags || ["Other"])[0];
      if (!tags.has(tag)) tags.set(tag, []);
      tags.get(tag).push(route(description, path, method, about));
    }
  }
  for (const [tag, boxes] of tags) {
    contents.append(make("a", tag, { href: `#tag-${tag}` }));
    routes.append(make("h2", tag, { id: `tag-${tag}` }), ...boxes);
  }
  const keys = description["x-error-keys"] || {};
  contents.append(make("a", "Errors", { href: "#tag-errors" }));
  routes.append(make("h2", "Errors", { id: "tag-errors" }));
  const rows = table(["key", "meaning"], Object.entries(keys));
  for (const line of rows.tBodies[0].rows) line.id = line.cells[0].textContent;
  routes.append(rows);
  if (location.hash) byId(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

async function load() {
  const token = byId("token").value.trim();
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch("openapi.json", { headers, cache: "no-store", credentials: "omit" });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.detail || answer.statusText);
    show(found);
    byId("said").textContent = "";
    byId("asking").hidden = true;
  } catch (error) {
    byId("said").textContent = token ? String(error.message) : byId("said").textContent;
  }
}

byId("show").addEventListener("click", load);
byId("token").addEventListener("keydown", (event) => { if (event.key === "Enter") load(); });
load();
