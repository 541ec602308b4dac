// Makes what is shown like what was made anew, and leaves everything in place that is the same: a button keeps the
// focus, and a text keeps being selected, while a number beside it changes.

/**
 * Give an element these children.
 * @param {Element} element
 * @param {Node[]} wanted Nodes that are shown nowhere yet. Those that are not needed are dropped, with their listeners.
 */
export function patch(element, wanted) {
  const present = [...element.childNodes];
  wanted.forEach((node, at) => {
    const old = present[at];
    if (old === undefined) element.append(node);
    else if (!isAlike(old, node)) old.replaceWith(node);
    else if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== node.data) old.data = node.data;
    } else patch(old, [...node.childNodes]);
  });
  for (const old of present.slice(wanted.length)) old.remove();
}

/** Whether one node can become another by other children or another text alone. */
function isAlike(old, node) {
  if (old.nodeType !== node.nodeType) return false;
  if (old.nodeType === Node.TEXT_NODE) return true;
  return old.nodeType === Node.ELEMENT_NODE && old.cloneNode(false).isEqualNode(node.cloneNode(false));
}
