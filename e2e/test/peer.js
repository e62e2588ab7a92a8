// Steers a peer from a test: the JavaScript twin of what the Rust tests do.

import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** No single step of these tests takes a tenth of this on a slow machine. */
const PATIENCE_MS = 10_000;

export class Peer {
  #child;
  #next = 1;
  #replies = new Map();
  #events = [];
  #waiting = new Set();

  constructor(script, env = {}) {
    const path = fileURLToPath(new URL(`../peers/${script}`, import.meta.url));
    this.#child = spawn(process.execPath, [path], { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#take(JSON.parse(line)));
  }

  static async start(script, env) {
    const peer = new Peer(script, env);
    peer.ready = await peer.event("ready");
    return peer;
  }

  #take(object) {
    if ("reply" in object) return this.#replies.get(object.reply)?.(object);
    this.#events.push(object);
    for (const wake of this.#waiting) wake();
  }

  /** Sends a command; resolves with the whole reply, failed or not. */
  async reply(cmd, fields = {}) {
    const id = this.#next++;
    const reply = new Promise((resolve) => this.#replies.set(id, resolve));
    this.#child.stdin.write(JSON.stringify({ id, cmd, ...fields }) + "\n");
    return withPatience(reply, `the reply to ${cmd}`).finally(() => this.#replies.delete(id));
  }

  /** Sends a command; resolves with its value. */
  async ask(cmd, fields) {
    const reply = await this.reply(cmd, fields);
    if (!reply.ok) throw new Error(`${cmd}: ${reply.error}`);
    return reply.value;
  }

  raw(line) {
    this.#child.stdin.write(line + "\n");
    return new Promise((resolve) => this.#replies.set(null, resolve));
  }

  /** Takes the first event of this kind whose fields include `fields`, waiting for it if it has not come yet. */
  async event(kind, fields = {}) {
    const matches = (event) => event.event === kind && Object.entries(fields).every(([key, value]) => event[key] === value);
    const take = () => {
      const index = this.#events.findIndex(matches);
      return index < 0 ? undefined : this.#events.splice(index, 1)[0];
    };
    const found = take();
    if (found) return found;
    let wake;
    const arrived = new Promise((resolve) => {
      wake = () => {
        const event = take();
        if (event) resolve(event);
      };
      this.#waiting.add(wake);
    });
    return withPatience(arrived, `event ${kind} ${JSON.stringify(fields)}`).finally(() => this.#waiting.delete(wake));
  }

  /** Closes stdin; resolves with the exit code. */
  end() {
    if (this.#child.exitCode !== null) return this.#child.exitCode;
    const exit = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end();
    return withPatience(exit, "the end of a peer");
  }
}

function withPatience(promise, what) {
  let timer;
  const expired = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`gave up waiting for ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer));
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** A private redis-server on a free port, or null where none is installed. */
export async function startRedis() {
  const port = await freePort();
  const child = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
  const up = new Promise((resolve) => {
    child.on("error", () => resolve(null));
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.includes("Ready to accept connections")) resolve({ url: `redis://127.0.0.1:${port}`, stop: () => child.kill("SIGKILL") });
    });
  });
  return withPatience(up, "redis-server");
}
