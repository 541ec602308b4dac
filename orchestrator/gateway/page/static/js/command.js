// The commands that do the same as a button: to show, and to copy.

import { announce, fill, h } from "./dom.js";
import { icon } from "./icons.js";

/** Put a word of a command as a shell reads it: quoted only where it must be. */
export function quote(word) {
  const text = String(word);
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Put a command of its words: `line("orchestrator", "stop", name)`. */
export const line = (...words) => words.map(quote).join(" ");

/** Copy a text. Returns whether that was possible. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOld(text);
  }
}

// Browsers give the clipboard to pages from this machine or by TLS alone. The old way works from everywhere.
function copyOld(text) {
  const focused = document.activeElement;
  const field = h("textarea.unseen", { "aria-hidden": "true", tabindex: "-1", readonly: true });
  field.value = text;
  // A field outside of an open dialog cannot be selected.
  (focused?.closest?.("dialog") ?? document.body).append(field);
  field.select();
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    done = false;
  }
  field.remove();
  focused?.focus?.({ preventScroll: true });
  return done;
}

/**
 * Make a button that copies a command.
 * @param {string} command It.
 * @param {string} [words] What the button says; without it, the button is a small sign.
 */
export function copyButton(command, words = null) {
  const face = (sign, said) => [icon(sign), said];
  const button = h(words ? "button" : "button.plain.square.copy", {
    type: "button", title: `Copy: ${command}`, "aria-label": words ? null : `Copy the command ${command}`,
  }, face("copy", words));
  let back = 0;
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    const done = await copy(command);
    fill(button, done ? face("check", words && "Copied") : face("warn", words && "Cannot copy"));
    announce(done ? `Copied: ${command}` : `The browser does not let the page copy. The command is: ${command}`);
    clearTimeout(back);
    back = setTimeout(() => fill(button, face("copy", words)), 1500);
  });
  return button;
}

/** Show a command with a button that copies it. */
export const commandLine = (command) => h("p.command", {}, h("code", {}, command), copyButton(command));

/** Show a sentence of the service: what is between backticks is a command or a name. */
export function sentence(text) {
  return String(text ?? "").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}
