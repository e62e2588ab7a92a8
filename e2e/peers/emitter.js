// @socket.io/redis-emitter, steered over JSON lines. README.md lists the environment and commands.

import { Emitter } from "@socket.io/redis-emitter";
import { Redis } from "ioredis";
import { report, serve } from "./lines.js";

const { REDIS_URL, REDIS_KEY = "socket.io" } = process.env;
if (!REDIS_URL) {
  console.error("emitter: set REDIS_URL");
  process.exit(2);
}
const redis = new Redis(REDIS_URL);
redis.on("error", (error) => console.error(`emitter: ${error.message}`));
const root = new Emitter(redis, { key: REDIS_KEY });

function of(command) {
  const namespace = command.namespace ?? "/";
  return namespace === "/" ? root : root.of(namespace);
}

function target(command) {
  let operator = of(command).to(command.rooms ?? []).except(command.except ?? []);
  if (command.volatile) operator = operator.volatile;
  if (command.compress !== undefined) operator = operator.compress(command.compress);
  return operator;
}

/** Runs `publish`, then waits until Redis has taken what it wrote: one connection answers in order. */
function taken(publish) {
  return async (command) => {
    publish(command);
    await redis.ping();
  };
}

serve({
  emit: taken((command) => target(command).emit(command.event, ...(command.args ?? []))),
  sockets_join: taken((command) => target(command).socketsJoin(command.join)),
  sockets_leave: taken((command) => target(command).socketsLeave(command.leave)),
  disconnect_sockets: taken((command) => target(command).disconnectSockets(command.close === true)),
  server_side_emit: taken((command) => of(command).serverSideEmit(command.event, ...(command.args ?? []))),
});
redis.once("ready", () => report("ready"));
