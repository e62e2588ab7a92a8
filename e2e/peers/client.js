// Stock socket.io-client clients, steered over JSON lines. README.md lists the commands and events.

import { report, serve, withDeadline } from "./lines.js";

/** Major version of socket.io-client -> its `io` function, loaded when first asked for. */
const versions = {
  2: async () => (await import("socket.io-client-2")).default,
  3: async () => (await import("socket.io-client-3")).io,
  4: async () => (await import("socket.io-client")).io,
};

/** Handshakes in flight at once while `open` opens many: enough to be quick, few enough not to be mistaken for an attack. */
const OPENING_AT_ONCE = 50;

/** name -> { socket, quiet, counts, answers } */
const clients = new Map();

function find({ client }) {
  const found = clients.get(client);
  if (!found) throw new Error(`no client named ${client}`);
  return found;
}

function transportOf(socket) {
  return socket.io.engine?.transport?.name ?? null;
}

function describe(name, socket) {
  return { client: name, socket: socket.id ?? null, transport: transportOf(socket) };
}

function watch(name, entry) {
  const { socket } = entry;
  socket.io.on("open", () => {
    socket.io.engine.once("upgrade", (transport) => report("upgrade", { client: name, transport: transport.name }));
  });
  socket.on("connect", () => report("connect", { ...describe(name, socket), recovered: socket.recovered ?? false }));
  socket.on("connect_error", (error) =>
    report("connect_error", { client: name, message: error.message, data: error.data ?? null, active: socket.active ?? null }));
  socket.on("disconnect", (reason) => report("disconnect", { client: name, reason }));
  socket.io.on("reconnect_attempt", (attempt) => report("reconnect_attempt", { client: name, attempt }));
  socket.io.on("reconnect", (attempt) => report("reconnect", { client: name, attempt }));
  onAny(socket, (event, ...args) => {
    entry.counts[event] = (entry.counts[event] ?? 0) + 1;
    const acknowledge = typeof args.at(-1) === "function" ? args.pop() : null;
    if (!entry.quiet) report("message", { client: name, name: event, args, ack: acknowledge !== null });
    if (acknowledge && entry.answers.has(event)) acknowledge(...entry.answers.get(event));
  });
  // What version 2 makes of a CONNECT_ERROR: its whole payload. It cannot tell it from a failure of the transport.
  socket.on("error", (error) =>
    report("connect_error", { client: name, message: error?.message ?? String(error), data: error?.message ? null : error, active: null }));
}

/** Calls `listener` for every event; version 2 has nothing of its own for that. */
function onAny(socket, listener) {
  if (socket.onAny) return socket.onAny(listener);
  socket.onevent = ({ data, id }) => listener(...data, ...(id === undefined ? [] : [socket.ack(id)]));
}

async function create(name, command) {
  if (typeof name !== "string") throw new Error("open needs a client name");
  if (clients.has(name)) throw new Error(`there is already a client named ${name}`);
  const { url, namespace = "/", transports = ["websocket"], reconnection = true, options = {}, version = 4 } = command;
  if (!Object.hasOwn(versions, version)) throw new Error(`there is no version ${version} of the client`);
  const io = await versions[version]();
  const settings = { transports, reconnection, forceNew: true, autoConnect: false };
  if (command.auth !== undefined) settings.auth = command.auth;
  if (command.query !== undefined) settings.query = command.query;
  if (command.path !== undefined) settings.path = command.path;
  if (command.headers !== undefined) settings.extraHeaders = command.headers;
  if (command.reconnection_delay_ms !== undefined) {
    settings.reconnectionDelay = settings.reconnectionDelayMax = command.reconnection_delay_ms;
  }
  const socket = io(new URL(namespace, url).href, { ...settings, ...options });
  const entry = { socket, quiet: command.quiet === true, counts: {}, answers: new Map() };
  clients.set(name, entry);
  watch(name, entry);
  return entry;
}

function connected(socket) {
  return new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", (error) => reject(error));
    socket.once("error", (error) => reject(error?.message ? error : new Error(String(error))));
  });
}

async function openOne(name, command) {
  const { socket } = await create(name, command);
  if (command.wait === false) {
    socket.connect();
    return describe(name, socket);
  }
  const done = connected(socket);
  socket.connect();
  await withDeadline(done, command.timeout_ms ?? 5000, `${name} did not connect in time`);
  return describe(name, socket);
}

async function open(command) {
  if (command.count === undefined) return openOne(command.client, command);
  const opened = [];
  for (let first = 0; first < command.count; first += OPENING_AT_ONCE) {
    const size = Math.min(OPENING_AT_ONCE, command.count - first);
    const names = Array.from({ length: size }, (_, index) => `${command.client}-${first + index}`);
    opened.push(...(await Promise.all(names.map((name) => openOne(name, command)))));
  }
  return opened;
}

function tcpSocket(socket) {
  const tcp = socket.io.engine?.transport?.ws?._socket;
  if (!tcp) throw new Error("only a connected websocket client can pause");
  return tcp;
}

serve({
  open,
  emit(command) {
    const { socket } = find(command);
    const emitter = (command.volatile && socket.volatile) || socket;
    emitter.emit(command.event, ...(command.args ?? []));
  },
  emit_ack(command) {
    const { socket } = find(command);
    const timeout = command.timeout_ms ?? 5000;
    if (!socket.timeout) {
      const acknowledged = new Promise((resolve) => socket.emit(command.event, ...(command.args ?? []), (...args) => resolve(args)));
      return withDeadline(acknowledged, timeout, "operation has timed out");
    }
    return new Promise((resolve, reject) => {
      socket.timeout(timeout).emit(command.event, ...(command.args ?? []), (error, ...args) =>
        error ? reject(error) : resolve(args));
    });
  },
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
  drop(command) {
    const engine = find(command).socket.io.engine;
    const tcp = engine?.transport?.ws?._socket;
    if (tcp) tcp.destroy();
    else engine?.close();
  },
  pause(command) {
    tcpSocket(find(command).socket).pause();
  },
  resume(command) {
    tcpSocket(find(command).socket).resume();
  },
  close(command) {
    find(command).socket.disconnect();
    clients.delete(command.client);
  },
  clients: () => [...clients.keys()],
});
report("ready");
