// Stock socket.io-client clients, steered over JSON lines. README.md lists the commands and events.

import { clientCommands } from "./clients.js";
import { report, serve } from "./lines.js";

/** Major version of socket.io-client -> its `io` function, loaded when first asked for. */
const versions = {
  2: async () => (await import("socket.io-client-2")).default,
  3: async () => (await import("socket.io-client-3")).io,
  4: async () => (await import("socket.io-client")).io,
};

/** Handshakes in flight at once while `open` opens many: enough to be quick, few enough not to be mistaken for an attack. */
const OPENING_AT_ONCE = 50;

function load({ version = 4 }) {
  if (!Object.hasOwn(versions, version)) throw new Error(`there is no version ${version} of the client`);
  return versions[version]();
}

const { find, commands } = clientCommands(load, report);

async function open(command) {
  if (command.count === undefined) return commands.open(command);
  const opened = [];
  for (let first = 0; first < command.count; first += OPENING_AT_ONCE) {
    const size = Math.min(OPENING_AT_ONCE, command.count - first);
    const names = Array.from({ length: size }, (_, index) => `${command.client}-${first + index}`);
    opened.push(...(await Promise.all(names.map((client) => commands.open({ ...command, client })))));
  }
  return opened;
}

function tcpSocket(socket) {
  const tcp = socket.io.engine?.transport?.ws?._socket;
  if (!tcp) throw new Error("only a connected websocket client can pause");
  return tcp;
}

serve({
  ...commands,
  open,
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
});
report("ready");
