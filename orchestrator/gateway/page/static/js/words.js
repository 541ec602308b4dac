// Words and forms that several parts show: states, ages, sizes.

const TONES = {
  connected: "good",
  starting: "wait", connecting: "wait", reconnecting: "wait", backoff: "wait",
  pairing: "scan",
  failed: "bad", banned: "bad", outdated: "bad", replaced: "bad",
  stopped: "off", disabled: "off",
};

/** The tone of a state: good, wait, scan, bad or off. */
export const tone = (state) => TONES[state] ?? "bad";

/** How long ago something was, such as "3h"; "-" for never. */
export function age(then, now) {
  return then === null || then === undefined ? "-" : span(Math.max(0, now - then));
}

/** Until when something is, such as "in 10s", or "now". */
export function until(then, now) {
  if (then === null || then === undefined) return "-";
  return then <= now ? "now" : `in ${span(then - now)}`;
}

/** Seconds in short, as `orchestrator list` has them: "14s", "3m", "2h", "5d". */
export function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

/** Bytes in short, such as "18.7 MB". */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "-";
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${Math.round(bytes / 1e3)} kB`;
}

/** A moment in local time, to the second: "2026-11-29 14:03:10". */
export function moment(seconds) {
  if (seconds === null || seconds === undefined) return "-";
  const at = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `
    + `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** A sentence of the service with a capital. */
export const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

const collator = new Intl.Collator("en", { numeric: true });
/** Compare names with numbers in the order that people expect: a2 before a10. */
export const byName = (a, b) => collator.compare(a, b);

/** "1 account", "3 accounts". */
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en-US")} ${number === 1 ? one : many}`;
