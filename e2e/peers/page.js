// What runs in the page of browser.js: the commands of client.js, in a browser. `tell` is a binding that browser.js made.

/** name -> { socket, counts, answers } */
const clients = new Map();

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
  socket.on("connect", () => report("connect", { ...describe(name, socket), recovered: socket.recovered }));
  socket.on("connect_error", (error) =>
    report("connect_error", { client: name, message: error.message, data: error.data ?? null, active: socket.active }));
  socket.on("disconnect", (reason) => report("disconnect", { client: name, reason }));
  socket.io.on("reconnect", (attempt) => report("reconnect", { client: name, attempt }));
  socket.onAny((event, ...args) => {
    entry.counts[event] = (entry.counts[event] ?? 0) + 1;
    const acknowledge = typeof args.at(-1) === "function" ? args.pop() : null;
    report("message", { client: name, name: event, args, ack: acknowledge !== null });
    if (acknowledge && entry.answers.has(event)) acknowledge(...entry.answers.get(event));
  });
}

function create(name, command) {
  if (clients.has(name)) throw new Error(`there is already a client named ${name}`);
  const { url, namespace = "/", transports = ["websocket"], reconnection = true, options = {} } = command;
  const settings = { transports, reconnection, forceNew: true, autoConnect: false };
  if (command.auth !== undefined) settings.auth = command.auth;
  if (command.query !== undefined) settings.query = command.query;
  if (command.path !== undefined) settings.path = command.path;
  if (command.reconnection_delay_ms !== undefined) {
    settings.reconnectionDelay = settings.reconnectionDelayMax = command.reconnection_delay_ms;
  }
  const socket = globalThis.io(new URL(namespace, url).href, { ...settings, ...options });
  const entry = { socket, counts: {}, answers: new Map() };
  clients.set(name, entry);
  watch(name, entry);
  return socket;
}

function connected(socket, name, timeoutMs) {
  return new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
    setTimeout(() => reject(new Error(`${name} did not connect in time`)), timeoutMs);
  });
}

const commands = {
  async open(command) {
    const socket = create(command.client, command);
    const done = connected(socket, command.client, command.timeout_ms ?? 5000);
    socket.connect();
    if (command.wait === false) done.catch(() => {});
    else await done;
    return describe(command.client, socket);
  },
  emit(command) {
    find(command).socket.emit(command.event, ...(command.args ?? []));
  },
  emit_ack(command) {
    const { socket } = find(command);
    return new Promise((resolve, reject) => {
      socket.timeout(command.timeout_ms ?? 5000).emit(command.event, ...(command.args ?? []), (error, ...args) =>
        error ? reject(error) : resolve(args));
    });
  },
  answer(command) {
    find(command).answers.set(command.event, command.args ?? []);
  },
  status(command) {
    const { socket } = find(command);
    return { socket: socket.id ?? null, connected: socket.connected, active: socket.active, transport: transportOf(socket) };
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

globalThis.perform = async (command) => {
  try {
    return { ok: true, value: toWire(await commands[command.cmd](fromWire(command))) };
  } catch (error) {
    return { ok: false, error: String(error?.message ?? error) };
  }
};
report("loaded");
