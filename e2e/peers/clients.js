// The commands that stock socket.io-client clients take, in Node.js (client.js) and on a page (page.js) alike.

import { withDeadline } from "./deadline.js";

/** Time for a client to connect, and for an acknowledgement. */
const TIMEOUT_MS = 5000;

function transportOf(socket) {
  return socket.io.engine?.transport?.name ?? null;
}

function describe(client, socket) {
  return { client, socket: socket.id ?? null, transport: transportOf(socket) };
}

/** Calls `listener` for every event; version 2 has nothing of its own for that. */
function onAny(socket, listener) {
  if (socket.onAny) return socket.onAny(listener);
  socket.onevent = ({ data, id }) => listener(...data, ...(id === undefined ? [] : [socket.ack(id)]));
}

function watch(client, entry, report) {
  const { socket } = entry;
  socket.io.on("open", () => {
    socket.io.engine.once("upgrade", (transport) => report("upgrade", { client, transport: transport.name }));
  });
  socket.on("connect", () => report("connect", { ...describe(client, socket), recovered: socket.recovered ?? false }));
  socket.on("connect_error", (error) =>
    report("connect_error", { client, message: error.message, data: error.data ?? null, active: socket.active ?? null }));
  socket.on("disconnect", (reason) => report("disconnect", { client, reason }));
  socket.io.on("reconnect_attempt", (attempt) => report("reconnect_attempt", { client, attempt }));
  socket.io.on("reconnect", (attempt) => report("reconnect", { client, attempt }));
  onAny(socket, (event, ...args) => {
    entry.counts[event] = (entry.counts[event] ?? 0) + 1;
    const acknowledge = typeof args.at(-1) === "function" ? args.pop() : null;
    if (!entry.quiet) report("message", { client, name: event, args, ack: acknowledge !== null });
    if (acknowledge && entry.answers.has(event)) acknowledge(...entry.answers.get(event));
  });
  // What version 2 makes of a CONNECT_ERROR: its whole payload. It cannot tell it from a failure of the transport.
  socket.on("error", (error) =>
    report("connect_error", { client, message: error?.message ?? String(error), data: error?.message ? null : error, active: null }));
}

function settings(command) {
  const { transports = ["websocket"], reconnection = true, options = {} } = command;
  const settings = { transports, reconnection, forceNew: true, autoConnect: false };
  if (command.auth !== undefined) settings.auth = command.auth;
  if (command.query !== undefined) settings.query = command.query;
  if (command.path !== undefined) settings.path = command.path;
  if (command.headers !== undefined) settings.extraHeaders = command.headers;
  if (command.reconnection_delay_ms !== undefined) {
    settings.reconnectionDelay = settings.reconnectionDelayMax = command.reconnection_delay_ms;
  }
  return { ...settings, ...options };
}

function connected(socket) {
  return new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", (error) => reject(error));
    socket.once("error", (error) => reject(error?.message ? error : new Error(String(error))));
  });
}

function emitWithAck(socket, command) {
  const { event, args = [], timeout_ms: timeoutMs = TIMEOUT_MS } = command;
  if (!socket.timeout) {
    const acknowledged = new Promise((resolve) => socket.emit(event, ...args, (...answer) => resolve(answer)));
    return withDeadline(acknowledged, timeoutMs, "operation has timed out");
  }
  return new Promise((resolve, reject) => {
    socket.timeout(timeoutMs).emit(event, ...args, (error, ...answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** `load` gives the library's `io` for an `open` command. */
export function clientCommands(load, report) {
  /** name -> { socket, quiet, counts, answers } */
  const clients = new Map();

  function find({ client }) {
    const found = clients.get(client);
    if (!found) throw new Error(`no client named ${client}`);
    return found;
  }

  async function create(command) {
    const { client, url, namespace = "/" } = command;
    if (typeof client !== "string") throw new Error("open needs a client name");
    if (clients.has(client)) throw new Error(`there is already a client named ${client}`);
    const io = await load(command);
    const socket = io(new URL(namespace, url).href, settings(command));
    const entry = { socket, quiet: command.quiet === true, counts: {}, answers: new Map() };
    clients.set(client, entry);
    watch(client, entry, report);
    return socket;
  }

  const commands = {
    async open(command) {
      const { client, wait = true, timeout_ms: timeoutMs = TIMEOUT_MS } = command;
      const socket = await create(command);
      const done = wait ? connected(socket) : null;
      socket.connect();
      if (wait) await withDeadline(done, timeoutMs, `${client} did not connect in time`);
      return describe(client, socket);
    },
    emit(command) {
      const { socket } = find(command);
      const emitter = (command.volatile && socket.volatile) || socket;
      emitter.emit(command.event, ...(command.args ?? []));
    },
    emit_ack: (command) => emitWithAck(find(command).socket, command),
    answer(command) {
      find(command).answers.set(command.event, command.args ?? []);
    },
    status(command) {
      const { socket } = find(command);
      const { connected, active = null, recovered = false } = socket;
      return { socket: socket.id ?? null, connected, active, recovered, transport: transportOf(socket), buffered: socket.sendBuffer.length };
    },
    counts: (command) => find(command).counts,
    disconnect(command) {
      find(command).socket.disconnect();
    },
    connect(command) {
      find(command).socket.connect();
    },
    close(command) {
      find(command).socket.disconnect();
      clients.delete(command.client);
    },
    clients: () => [...clients.keys()],
  };
  return { find, commands };
}
