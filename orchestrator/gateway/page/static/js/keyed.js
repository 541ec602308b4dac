// Lists that are patched and not made anew: who reads or uses one entry keeps it while others come and go.

/**
 * Make a list whose entries are known by a key.
 * @param {HTMLElement} parent What holds them and nothing else.
 * @param {(data: any) => {element: HTMLElement, update: (data: any) => void}} make Makes an entry; `update` is
 *     called at once, and for each later change.
 * @returns {(entries: Array<[string, any]>) => void} Shows exactly these, in this order.
 */
export function keyed(parent, make) {
  const known = new Map();
  return (entries) => {
    const wanted = new Set(entries.map(([key]) => key));
    for (const [key, entry] of known) {
      if (wanted.has(key)) continue;
      entry.element.remove();
      known.delete(key);
    }
    let place = parent.firstElementChild;
    for (const [key, data] of entries) {
      let entry = known.get(key);
      if (!entry) {
        entry = make(data);
        known.set(key, entry);
      }
      entry.update(data);
      if (entry.element === place) place = place.nextElementSibling;
      else parent.insertBefore(entry.element, place);
    }
  };
}
