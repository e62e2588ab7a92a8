// Bare WebSocket connections of `ws`, which checks every frame it gets, steered over JSON lines. README.md lists the commands and events.

import { once } from "node:events";
import WebSocket from "ws";
import { report, serve } from "./lines.js";

/** name -> WebSocket */
const clients = new Map();

function find({ client }) {
  const found = clients.get(client);
  if (!found) throw new Error(`no client named ${client}`);
  return found;
}

function watch(client, socket) {
  let error = null;
  socket.on("message", (data, isBinary) => report("message", { client, data: isBinary ? data : data.toString() }));
  socket.on("error", (problem) => (error = problem.message));
  socket.on("close", (code, reason) => report("closed", { client, code, reason: reason.toString(), error }));
}

/** Sends a frame and waits until it is written. */
function sendFrame(socket, data, options) {
  return new Promise((resolve, reject) => socket.send(data, options, (error) => (error ? reject(error) : resolve())));
}

/** Sends a ping and waits for the next pong. */
async function ping(socket, data) {
  const pong = once(socket, "pong");
  socket.ping(data);
  return (await pong)[0];
}

serve({
  async open({ client, url, subprotocols = [] }) {
    const socket = new WebSocket(url, subprotocols, { perMessageDeflate: true });
    const upgraded = once(socket, "upgrade");
    clients.set(client, socket);
    watch(client, socket);
    await once(socket, "open");
    const { rawHeaders } = (await upgraded)[0];
    const headers = rawHeaders.flatMap((name, index) => (index % 2 === 0 ? [[name, rawHeaders[index + 1]]] : []));
    return { headers, extensions: socket.extensions, subprotocol: socket.protocol };
  },
  async send(command) {
    const socket = find(command);
    const { data, text = typeof data === "string" } = command;
    await sendFrame(socket, data, { binary: !text });
  },
  async send_fragments(command) {
    const socket = find(command);
    const { fragments } = command;
    const binary = typeof fragments[0] !== "string";
    for (const [index, fragment] of fragments.entries()) {
      await sendFrame(socket, fragment, { binary, fin: index === fragments.length - 1 });
      if (index < fragments.length - 1) await ping(socket, String(index));
    }
  },
  async send_unmasked(command) {
    await sendFrame(find(command), command.data, { mask: false });
  },
  ping: (command) => ping(find(command), command.data),
  close(command) {
    find(command).close(command.code, command.reason);
  },
});
report("ready");
