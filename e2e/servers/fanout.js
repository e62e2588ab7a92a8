// The Node server of the benchmark: everybody in one room, `pub` is passed on to it as `msg`. Contract: README.md.

import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const { PORT = "0", REDIS_URL, REDIS_ADAPTER = "classic", PING_INTERVAL_MS = "25000", PING_TIMEOUT_MS = "20000" } = process.env;
const http = createServer();
const io = new Server(http, {
  transports: ["websocket", "polling"],
  serveClient: false,
  pingInterval: Number(PING_INTERVAL_MS),
  pingTimeout: Number(PING_TIMEOUT_MS),
});

let subscriber;
if (REDIS_URL) {
  subscriber = new Redis(REDIS_URL);
  const publisher = new Redis(REDIS_URL);
  io.adapter(REDIS_ADAPTER === "sharded" ? createShardedAdapter(publisher, subscriber) : createAdapter(publisher, subscriber));
}
io.on("connection", (socket) => {
  socket.join("room");
  socket.on("pub", (payload) => io.to("room").emit("msg", payload));
  socket.on("tell", (room, payload) => io.to(room).emit("msg", payload));
  socket.on("join", (rooms) => socket.join(rooms));
  // Whoever asks and does not answer is part of what is measured.
  socket.on("ask", () => socket.timeout(1000).emit("question", () => {}));
});
// The answer to one more subscription comes after those of the adapter's own.
await subscriber?.subscribe(`bench-ready-${process.pid}`);
// A burst of handshakes must queue, not be refused.
http.listen({ port: Number(PORT), host: "127.0.0.1", backlog: 4096 }, () => console.log("up"));
