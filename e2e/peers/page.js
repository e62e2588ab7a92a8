// What runs in the page of browser.js: the commands of clients.js, in a browser. `tell` is a binding that browser.js made.

import { clientCommands } from "./clients.js";

function toBase64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** ArrayBuffers become {"$bin": base64}, at any depth. */
function toWire(value) {
  if (value === undefined) return null;
  if (value instanceof ArrayBuffer) return { $bin: toBase64(new Uint8Array(value)) };
  if (Array.isArray(value)) return value.map(toWire);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toWire(item)]));
  }
  return value;
}

/** The reverse; and {"$blob": base64} becomes a Blob. */
function fromWire(value) {
  if (Array.isArray(value)) return value.map(fromWire);
  if (value !== null && typeof value === "object") {
    if (typeof value.$bin === "string") return fromBase64(value.$bin).buffer;
    if (typeof value.$blob === "string") return new Blob([fromBase64(value.$blob)]);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromWire(item)]));
  }
  return value;
}

function report(event, fields = {}) {
  globalThis.tell(JSON.stringify(toWire({ event, ...fields })));
}

const { commands } = clientCommands(() => globalThis.io, report);

globalThis.perform = async (command) => {
  try {
    return { ok: true, value: toWire(await commands[command.cmd](fromWire(command))) };
  } catch (error) {
    return { ok: false, error: String(error?.message ?? error) };
  }
};
report("loaded");
