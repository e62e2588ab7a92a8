import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Peer } from "./peer.js";

let pod, client;
before(async () => {
  [pod, client] = await Promise.all([Peer.start("node-pod.js", { NAMESPACES: "/chat", ALLOW_EIO3: "1" }), Peer.start("client.js")]);
});
after(async () => {
  assert.deepEqual(await Promise.all([pod.end(), client.end()]), [0, 0]);
});

function open(name, fields = {}) {
  return client.ask("open", { client: name, url: pod.ready.url, ...fields });
}

test("opens over either transport, with auth and a namespace", async () => {
  const opened = await open("ws", { auth: { token: "t" }, namespace: "/chat" });
  assert.equal(opened.transport, "websocket");
  const connection = await pod.event("connection", { socket: opened.socket });
  assert.deepEqual([connection.namespace, connection.auth, connection.transport], ["/chat", { token: "t" }, "websocket"]);

  assert.equal((await open("polling", { transports: ["polling"] })).transport, "polling");
  await open("both", { transports: ["polling", "websocket"] });
  await client.event("upgrade", { client: "both", transport: "websocket" });
});

test("carries every kind of argument, binary at any depth", async () => {
  await open("args");
  const args = [1, -1.5, "ŝ", null, true, { deep: [{ $bin: "AAEC" }] }, { $bin: "" }];
  assert.deepEqual(await client.ask("emit_ack", { client: "args", event: "echo", args }), args);
  assert.deepEqual((await client.event("message", { client: "args", name: "echo" })).args, args);
});

test("acknowledges only what it was told to", async () => {
  const { socket } = await open("acks");
  const unanswered = await pod.reply("socket_emit_ack", { socket, event: "ask", timeout_ms: 50 });
  assert.deepEqual([unanswered.ok, unanswered.error], [false, "operation has timed out"]);
  await client.ask("answer", { client: "acks", event: "ask", args: ["yes"] });
  assert.equal(await pod.ask("socket_emit_ack", { socket, event: "ask" }), "yes");
});

test("addresses rooms", async () => {
  await open("r", { count: 3 });
  assert.deepEqual((await client.ask("clients")).filter((name) => name.startsWith("r-")), ["r-0", "r-1", "r-2"]);
  for (const name of ["r-0", "r-1"]) await client.ask("emit_ack", { client: name, event: "join", args: ["room"] });
  await client.ask("emit", { client: "r-0", event: "to-room", args: ["room", "news", 1] });
  assert.deepEqual((await client.event("message", { client: "r-1", name: "news" })).args, [1]);
  await pod.ask("emit", { rooms: ["room"], event: "more", args: [2] });
  await client.event("message", { client: "r-0", name: "more" });
  assert.deepEqual(await client.ask("counts", { client: "r-0" }), { more: 1 });
  assert.deepEqual(await client.ask("counts", { client: "r-2" }), {});
  await pod.ask("sockets_leave", { rooms: ["room"], leave: ["room"] });
  assert.deepEqual(await pod.ask("fetch_sockets", { rooms: ["room"] }), []);
});

test("tells why a client went, and comes back", async () => {
  const { socket } = await open("d");
  await client.ask("drop", { client: "d" });
  assert.equal((await client.event("disconnect", { client: "d" })).reason, "transport close");
  assert.equal((await pod.event("disconnect", { socket })).reason, "transport close");
  await client.event("reconnect", { client: "d" });
  // The connection is back before the socket is.
  let again = socket;
  while (again === socket) again = (await client.event("connect", { client: "d" })).socket;
  await pod.ask("disconnect_sockets", { rooms: [again] });
  assert.equal((await client.event("disconnect", { client: "d" })).reason, "io server disconnect");
});

test("a paused client hears everything later", async () => {
  const { socket } = await open("slow");
  await client.ask("pause", { client: "slow" });
  await pod.ask("socket_emit", { socket, event: "late", args: [1] });
  await client.ask("resume", { client: "slow" });
  assert.deepEqual((await client.event("message", { client: "slow", name: "late" })).args, [1]);
});

for (const version of [2, 3]) {
  test(`drives version ${version} of the client as well`, async () => {
    const name = `v${version}`;
    const query = { token: "t" };
    const { socket } = await open(name, { version, transports: ["polling", "websocket"], namespace: "/chat", query });
    const connection = await pod.event("connection", { socket });
    assert.deepEqual([connection.namespace, connection.auth], ["/chat", version === 2 ? query : {}]);
    const args = [1, "ŝ", { deep: [{ $bin: "AAEC" }] }];
    assert.deepEqual(await client.ask("emit_ack", { client: name, event: "echo", args }), args);
    assert.deepEqual((await client.event("message", { client: name, name: "echo" })).args, args);
    await client.ask("answer", { client: name, event: "ask", args: ["yes"] });
    assert.equal(await pod.ask("socket_emit_ack", { socket, namespace: "/chat", event: "ask" }), "yes");
    const late = await client.reply("emit_ack", { client: name, event: "nobody answers", timeout_ms: 50 });
    assert.equal(late.error, "operation has timed out");
    await client.ask("drop", { client: name });
    assert.equal((await client.event("disconnect", { client: name })).reason, "transport close");
    await client.event("reconnect", { client: name });
    const refused = await client.reply("open", { client: `${name}-lost`, version, url: pod.ready.url, namespace: "/nowhere" });
    assert.deepEqual([refused.ok, refused.error], [false, "Invalid namespace"]);
  });
}

test("refuses what it does not understand", async () => {
  assert.equal((await client.reply("fly")).error, "unknown command fly");
  assert.equal((await client.reply("emit", { client: "nobody", event: "x" })).error, "no client named nobody");
  assert.equal((await client.raw("{")).error, "this line is not JSON");
  const refused = await client.reply("open", { client: "lost", url: pod.ready.url, namespace: "/nowhere" });
  assert.deepEqual([refused.ok, refused.error], [false, "Invalid namespace"]);
});
