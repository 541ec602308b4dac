// Makes elements. Texts become text, never markup: nothing on this page parses HTML.

/**
 * Make an element.
 * @param {string} tag Such as "button", or "button.primary" with classes, or "div#tools" with an id.
 * @param {Object} [attributes] `on` has listeners by event, `data` the data attributes; a value of null, undefined
 *     or false leaves the attribute out, and true gives one without a value.
 * @param {...(Node|string|number|null|undefined|false|Array)} children Texts, elements, or lists of them.
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...marks] = tag.split(/(?=[.#])/);
  const element = document.createElement(name);
  for (const mark of marks) {
    if (mark.startsWith("#")) element.id = mark.slice(1);
    else element.classList.add(mark.slice(1));
  }
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (key === "data") {
      Object.assign(element.dataset, value);
    } else if (value === true) {
      element.setAttribute(key, "");
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(key, String(value));
    }
  }
  element.append(...flat(children));
  return element;
}

/** Make an element of SVG; attributes and children as in `h`, without listeners. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, String(value));
  }
  element.append(...flat(children));
  return element;
}

/** Put other children into an element. */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

/** Set a text if it is another one: what did not change is not announced and not painted again. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Tell those who use a screen reader what happened. */
export function announce(words) {
  const place = document.getElementById("announce");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = words; });
}

/**
 * Give a function that runs soon, and once for many calls: with the next picture. A page that nobody looks at paints
 * none, but its title still has to be right: then it runs after a moment.
 */
export function soon(work) {
  let frame = 0;
  let timer = 0;
  const run = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    timer = 0;
    work();
  };
  return () => {
    if (timer) return;
    frame = requestAnimationFrame(run);
    timer = setTimeout(run, 250);
  };
}

function flat(children) {
  return children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false)
    .map((one) => (typeof one === "number" ? String(one) : one));
}
