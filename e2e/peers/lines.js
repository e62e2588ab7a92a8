// JSON lines on stdin and stdout: the conversation of README.md, shared by every peer.

import { createInterface } from "node:readline";

/** Buffers become {"$bin": base64}, at any depth. */
export function toWire(value) {
  if (value === undefined) return null;
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) return { $bin: Buffer.from(value).toString("base64") };
  if (value instanceof ArrayBuffer) return { $bin: Buffer.from(new Uint8Array(value)).toString("base64") };
  if (Array.isArray(value)) return value.map(toWire);
  if (value !== null && typeof value === "object" && typeof value.toJSON !== "function") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toWire(item)]));
  }
  return value;
}

/** The reverse: {"$bin": base64} becomes a Buffer. */
export function fromWire(value) {
  if (Array.isArray(value)) return value.map(fromWire);
  if (value !== null && typeof value === "object") {
    if (typeof value.$bin === "string" && Object.keys(value).length === 1) return Buffer.from(value.$bin, "base64");
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromWire(item)]));
  }
  return value;
}

function writeLine(object) {
  process.stdout.write(JSON.stringify(toWire(object)) + "\n");
}

/** Writes one event line. */
export function report(event, fields = {}) {
  writeLine({ event, ...fields, at_ms: performance.timeOrigin + performance.now() });
}

/** A failure that carries a `value` as well, such as the answers received before a timeout. */
export class PartialFailure extends Error {
  constructor(message, value) {
    super(message);
    this.value = value;
  }
}

async function perform(commands, line) {
  let command;
  try {
    command = fromWire(JSON.parse(line));
  } catch {
    return writeLine({ reply: null, ok: false, error: "this line is not JSON" });
  }
  const reply = command?.id ?? null;
  const handler = Object.hasOwn(commands, command?.cmd) ? commands[command.cmd] : undefined;
  if (!handler) return writeLine({ reply, ok: false, error: `unknown command ${command?.cmd}` });
  try {
    writeLine({ reply, ok: true, value: (await handler(command)) ?? null });
  } catch (error) {
    const partial = error instanceof PartialFailure ? { value: error.value } : {};
    writeLine({ reply, ok: false, error: String(error?.message ?? error), ...partial });
  }
  if (command.cmd === "exit") process.exit(0);
}

/** Serves `commands` (name -> async function of the command object) until stdin closes. */
export function serve(commands) {
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
  lines.on("line", (line) => {
    if (line.trim() !== "") perform({ exit: () => null, ...commands }, line);
  });
  lines.on("close", () => process.exit(0));
  // The reader of stdout has gone: so has the reason to live.
  process.stdout.on("error", () => process.exit(0));
}
