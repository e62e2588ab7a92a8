// Stock socket.io-client clients on a page in headless Chromium, steered over JSON lines. ../README.md lists the commands and events.
//
// The page comes from a server of this process, so from another origin than the server under test. Chromium is spoken to over a pipe
// (Chrome DevTools Protocol): when this process ends, however it ends, the pipe closes and Chromium leaves.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { withDeadline } from "./deadline.js";
import { fromWire, report, serve, toWire } from "./lines.js";

const CHROMIUM = process.env.CHROMIUM ?? "chromium";
/** A browser that neither ends nor answers is killed after this: longer than any test may take. */
const LIFETIME_S = 300;
/** Chromium starts in a second; a loaded machine gets plenty. */
const START_MS = 30_000;

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--remote-debugging-pipe",
];

/** Starts Chromium in a profile of its own, which is removed when it has ended. */
function launch() {
  const profile = mkdtempSync(join(tmpdir(), "unisono-chromium-"));
  // The shell outlives this process and removes the profile; again, if a part of Chromium was still at it. `timeout` kills what does not end.
  const script = 'profile=$1; shift; timeout --signal=KILL "$@"; for n in 1 2 3 4 5; do rm -rf "$profile" && exit; sleep 0.2; done';
  const command = [String(LIFETIME_S), CHROMIUM, ...FLAGS, `--user-data-dir=${profile}`, "about:blank"];
  return spawn("sh", ["-c", script, "sh", profile, ...command], {
    detached: true,
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
}

/** The Chrome DevTools Protocol over the pipe: messages are JSON, each ended by a zero byte. */
class Devtools {
  #pipe;
  #next = 1;
  #replies = new Map();
  #listeners = [];

  constructor(child) {
    const [, , , input, output] = child.stdio;
    this.#pipe = input;
    input.on("error", () => {});
    let pending = Buffer.alloc(0);
    output.on("data", (chunk) => {
      const messages = Buffer.concat([pending, chunk]).toString("latin1").split("\0");
      pending = Buffer.from(messages.pop(), "latin1");
      for (const message of messages) this.#take(JSON.parse(Buffer.from(message, "latin1").toString("utf8")));
    });
    child.on("error", (error) => this.#fail(error));
    child.on("exit", () => this.#fail(new Error(`${CHROMIUM} has ended: is it installed?`)));
  }

  #take({ id, result, error, method, params }) {
    if (id === undefined) return this.#listeners.forEach((listener) => listener(method, params));
    const { resolve, reject } = this.#replies.get(id);
    this.#replies.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }

  #fail(error) {
    for (const { reject } of this.#replies.values()) reject(error);
    this.#replies.clear();
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#replies.set(id, { resolve, reject });
      this.#pipe.write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    });
  }

  listen(listener) {
    this.#listeners.push(listener);
  }
}

const require = createRequire(import.meta.url);
const bundle = join(dirname(require.resolve("socket.io-client/package.json")), "dist/socket.io.min.js");
const files = {
  "/": ["text/html", '<!doctype html><meta charset="utf-8"><title>peer</title><script src="socket.io.js"></script><script type="module" src="page.js"></script>'],
  "/socket.io.js": ["text/javascript", readFileSync(bundle)],
  ...Object.fromEntries(["page.js", "clients.js", "deadline.js"].map((name) => [`/${name}`, ["text/javascript", readFileSync(new URL(name, import.meta.url))]])),
};

/** Serves the page on a free port: each port is an origin. */
function serveOrigin() {
  const server = createServer((request, response) => {
    const [type, body] = files[request.url] ?? ["text/plain", null];
    response.writeHead(body === null ? 404 : 200, { "content-type": type }).end(body ?? "");
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`)));
}

const [origin, otherOrigin] = await Promise.all([serveOrigin(), serveOrigin()]);
const devtools = new Devtools(launch());
const { targetId } = await withDeadline(devtools.send("Target.createTarget", { url: "about:blank" }), START_MS, "Chromium did not start");
const { sessionId } = await devtools.send("Target.attachToTarget", { targetId, flatten: true });
const page = (method, params) => devtools.send(method, params, sessionId);

let loaded = () => {};
devtools.listen((method, params) => {
  if (method !== "Runtime.bindingCalled") return;
  const { event, ...fields } = JSON.parse(params.payload);
  if (event === "loaded") loaded();
  else report(event, fields);
});
await page("Runtime.enable");
await page("Page.enable");
await page("Runtime.addBinding", { name: "tell" });

/** Does something that loads the page, and waits until its script has run. */
async function load(method, params) {
  const done = new Promise((resolve) => (loaded = resolve));
  const { errorText } = await page(method, params);
  if (errorText) throw new Error(errorText);
  await withDeadline(done, START_MS, "the page did not load");
}

async function evaluate(expression) {
  const { result, exceptionDetails } = await page("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}

/** Has the page carry out a command. */
async function forward(command) {
  const { ok, value, error } = await evaluate(`perform(${JSON.stringify(toWire(command))})`);
  if (!ok) throw new Error(error);
  return fromWire(value);
}

await load("Page.navigate", { url: origin });
const forwarded = ["open", "emit", "emit_ack", "answer", "status", "counts", "disconnect", "connect", "close", "clients"];
serve({
  ...Object.fromEntries(forwarded.map((name) => [name, forward])),
  visit: ({ url }) => load("Page.navigate", { url }),
  reload: () => load("Page.reload", {}),
  evaluate: ({ expression }) => evaluate(expression),
});
report("ready", { origin, other_origin: otherOrigin });
