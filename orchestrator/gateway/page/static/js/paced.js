// Does the same to many accounts, so many at a time. Pure but for the work that it is given.

/**
 * Do work for each name.
 * @param {string[]} names
 * @param {number} parallel How many at a time.
 * @param {(name: string) => Promise<any>} work Does it for one; an error of one does not affect the others.
 * @param {(name: string, is: "asked"|"done"|"failed", what?: any) => void} tell Hears how far each is.
 * @returns {{stop: () => string[], over: Promise<{done: number, failed: number, left: string[]}>}} `stop` begins no
 *     more and returns those that were not begun; those under way go on.
 */
export function eachOf(names, parallel, work, tell) {
  const waiting = [...names];
  const counts = { done: 0, failed: 0 };
  const left = [];
  async function worker() {
    while (waiting.length) {
      const name = waiting.shift();
      tell(name, "asked");
      try {
        const answer = await work(name);
        counts.done += 1;
        tell(name, "done", answer);
      } catch (error) {
        counts.failed += 1;
        tell(name, "failed", error);
      }
    }
  }
  const workers = Array.from({ length: Math.max(1, Math.min(parallel, names.length)) }, worker);
  return {
    stop() {
      const now = waiting.splice(0);
      left.push(...now);
      return now;
    },
    over: Promise.all(workers).then(() => ({ ...counts, left })),
  };
}
