// A Socket.IO pod as Node.js runs it, steered over JSON lines. README.md lists the environment, commands and events.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { openRedis } from "./redis.js";
import { PartialFailure, report, serve } from "./lines.js";

const env = process.env;
const milliseconds = (name, otherwise) => Number(env[name] ?? otherwise);
const http = createServer((_request, response) => response.writeHead(404).end());
const io = new Server(http, {
  pingInterval: milliseconds("PING_INTERVAL_MS", 25000),
  pingTimeout: milliseconds("PING_TIMEOUT_MS", 20000),
  cors: { origin: true, credentials: true },
  allowEIO3: env.ALLOW_EIO3 === "1",
});
const namespaces = ["/", ...(env.NAMESPACES ?? "").split(",").map((name) => name.trim()).filter(Boolean)];

/** Handlers of the events that clients may send: (socket, args, acknowledge). */
const handlers = {
  async join(socket, rooms, acknowledge) {
    await socket.join(rooms);
    acknowledge([...socket.rooms]);
  },
  async leave(socket, [room], acknowledge) {
    await socket.leave(room);
    acknowledge([...socket.rooms]);
  },
  echo(socket, args, acknowledge) {
    socket.emit("echo", ...args);
    acknowledge(...args);
  },
  "answer-twice"(_socket, _args, acknowledge) {
    acknowledge(1);
    acknowledge(2);
  },
  "in-room": (socket, [room, event, ...args]) => socket.nsp.to(room).emit(event, ...args),
  "to-room": (socket, [room, event, ...args]) => socket.to(room).emit(event, ...args),
  broadcast: (socket, [event, ...args]) => socket.broadcast.emit(event, ...args),
  whoami(socket, _args, acknowledge) {
    acknowledge({ id: socket.id, rooms: [...socket.rooms], auth: socket.handshake.auth, transport: socket.conn.transport.name });
  },
};

function onConnection(namespace, socket) {
  const who = { namespace: namespace.name, socket: socket.id };
  report("connection", { ...who, auth: socket.handshake.auth, transport: socket.conn.transport.name });
  socket.on("disconnect", (reason) => report("disconnect", { ...who, reason }));
  // As listeners of their own, which unlike the catch-all below hear nothing once the socket is disconnected.
  socket.on("say", (...args) => socket.emit("said", ...args));
  socket.on("end", (close) => socket.disconnect(close === true));
  socket.onAny((name, ...args) => {
    const acknowledge = typeof args.at(-1) === "function" ? args.pop() : null;
    report("message", { ...who, name, args, ack: acknowledge !== null });
    if (Object.hasOwn(handlers, name)) handlers[name](socket, args, acknowledge ?? (() => {}));
  });
}

function serverSideEvents(namespace) {
  // Namespace is an EventEmitter without a catch-all, and serverSideEmit arrives here before its listeners.
  const deliver = namespace._onServerSideEmit.bind(namespace);
  namespace._onServerSideEmit = ([name, ...args]) => {
    const acknowledge = typeof args.at(-1) === "function" ? args.at(-1) : null;
    report("server_side", { namespace: namespace.name, name, args: acknowledge ? args.slice(0, -1) : args, ack: acknowledge !== null });
    if (acknowledge) acknowledge({ from: process.pid });
    else deliver([name, ...args]);
  };
}

function of(command) {
  return io.of(command.namespace ?? "/");
}

function target(command) {
  let operator = of(command).to(command.rooms ?? []).except(command.except ?? []);
  if (command.local) operator = operator.local;
  if (command.volatile) operator = operator.volatile;
  if (command.compress !== undefined) operator = operator.compress(command.compress);
  return operator;
}

function localSocket(command) {
  const socket = of(command).sockets.get(command.socket);
  if (!socket) throw new Error(`no socket ${command.socket} on this pod`);
  return socket;
}

const commands = {
  emit(command) {
    target(command).emit(command.event, ...(command.args ?? []));
  },
  emit_ack(command) {
    return new Promise((resolve, reject) => {
      target(command).timeout(command.timeout_ms ?? 5000).emit(command.event, ...(command.args ?? []), (error, responses) =>
        error ? reject(new PartialFailure(error.message, responses)) : resolve(responses));
    });
  },
  socket_emit(command) {
    localSocket(command).emit(command.event, ...(command.args ?? []));
  },
  socket_emit_ack: (command) =>
    localSocket(command).timeout(command.timeout_ms ?? 5000).emitWithAck(command.event, ...(command.args ?? [])),
  async fetch_sockets(command) {
    const sockets = await target(command).fetchSockets();
    return sockets.map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake: JSON.parse(JSON.stringify(handshake)) }));
  },
  sockets_join(command) {
    target(command).socketsJoin(command.join);
  },
  sockets_leave(command) {
    target(command).socketsLeave(command.leave);
  },
  disconnect_sockets(command) {
    target(command).disconnectSockets(command.close === true);
  },
  server_side_emit(command) {
    const args = command.args ?? [];
    if (command.ack) return of(command).serverSideEmitWithAck(command.event, ...args);
    of(command).serverSideEmit(command.event, ...args);
  },
  async all_rooms(command) {
    const { adapter } = of(command);
    return adapter.allRooms ? [...(await adapter.allRooms())] : [...adapter.rooms.keys()];
  },
  server_count: (command) => of(command).adapter.serverCount(),
  sockets: (command) => [...of(command).sockets.keys()],
  close: () => new Promise((resolve) => io.close(() => resolve())),
};

const redis = env.REDIS_URL ? await openRedis(env, (error) => report("redis_error", { message: error.message })) : null;
if (redis) io.adapter(redis.adapter);
for (const name of namespaces) {
  const namespace = io.of(name);
  serverSideEvents(namespace);
  if (name.startsWith("/waits")) namespace.use((_socket, next) => setImmediate(next));
  namespace.on("connection", (socket) => onConnection(namespace, socket));
}
await redis?.subscriptionsConfirmed();
http.listen(Number(env.PORT ?? 0), "127.0.0.1", () => {
  const { port } = http.address();
  serve(commands);
  report("ready", { port, url: `http://127.0.0.1:${port}` });
});
