import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Peer, startRedis } from "./peer.js";

const redis = await startRedis();
const skip = redis ? false : "redis-server is not installed";
after(() => redis?.stop());

for (const library of ["ioredis", "redis"]) {
  describe(`two pods over ${library}`, { skip }, () => {
    let a, b, client, emitter;
    before(async () => {
      const env = { REDIS_URL: redis.url, REDIS_CLIENT: library, REDIS_KEY: library };
      [a, b, client, emitter] = await Promise.all([
        Peer.start("node-pod.js", env), Peer.start("node-pod.js", env), Peer.start("client.js"), Peer.start("emitter.js", env),
      ]);
      await client.ask("open", { client: "a", url: a.ready.url });
      await client.ask("open", { client: "b", url: b.ready.url });
      await client.ask("emit_ack", { client: "b", event: "join", args: ["room"] });
    });
    after(async () => {
      assert.deepEqual(await Promise.all([a, b, client, emitter].map((peer) => peer.end())), [0, 0, 0, 0]);
    });

    test("an event crosses, binary included", async () => {
      await client.ask("emit", { client: "a", event: "to-room", args: ["room", "x", { $bin: "AQ==" }] });
      assert.deepEqual((await client.event("message", { client: "b", name: "x" })).args, [{ $bin: "AQ==" }]);
    });

    test("local stays", async () => {
      await a.ask("emit", { local: true, event: "here" });
      await a.ask("emit", { event: "everywhere" });
      await client.event("message", { client: "b", name: "everywhere" });
      assert.equal((await client.ask("counts", { client: "b" })).here, undefined);
    });

    test("pods count, fetch and ask each other", async () => {
      assert.equal(await a.ask("server_count"), 2);
      assert.equal((await a.ask("fetch_sockets")).length, 2);
      assert.ok((await a.ask("all_rooms")).includes("room"));
      assert.equal((await a.ask("server_side_emit", { event: "q", ack: true })).length, 1);
      assert.equal((await b.event("server_side", { name: "q" })).ack, true);
    });

    test("acknowledgements cross; those that do not come are a partial failure", async () => {
      await client.ask("answer", { client: "a", event: "ask", args: ["from a"] });
      const reply = await b.reply("emit_ack", { event: "ask", timeout_ms: 200 });
      assert.deepEqual([reply.ok, reply.error, reply.value], [false, "operation has timed out", ["from a"]]);
    });

    test("an emitter reaches both, and moves sockets", async () => {
      await emitter.ask("emit", { event: "news", args: [1] });
      for (const name of ["a", "b"]) assert.deepEqual((await client.event("message", { client: name, name: "news" })).args, [1]);
      await emitter.ask("sockets_join", { rooms: ["room"], join: ["hall"] });
      await emitter.ask("emit", { rooms: ["hall"], event: "in the hall" });
      await client.event("message", { client: "b", name: "in the hall" });
      await emitter.ask("server_side_emit", { event: "pods", args: [7] });
      assert.deepEqual((await a.event("server_side", { name: "pods" })).args, [7]);
      await emitter.ask("disconnect_sockets", { rooms: ["room"] });
      assert.equal((await client.event("disconnect", { client: "b" })).reason, "io server disconnect");
    });
  });
}
