// Redis clients and adapters of a Node pod, for either client library.

import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";

/** One server, `redis+sentinel://host:port,host:port/master-name`, or several URLs with commas between: a Redis Cluster. */
function openIoredis(url, shardedSubscribers) {
  const sentinel = /^redis\+sentinel:\/\/([^/]+)\/(.+)$/.exec(url);
  if (sentinel) {
    const sentinels = sentinel[1].split(",").map((address) => {
      const [host, port] = address.split(":");
      return { host, port: Number(port) };
    });
    return new Redis({ sentinels, name: sentinel[2] });
  }
  // Without the option it asks one node for the channels of all.
  return url.includes(",") ? new Cluster(url.split(","), { shardedSubscribers }) : new Redis(url);
}

function openNodeRedis(url) {
  const rootNodes = url.split(",").map((url) => ({ url }));
  return rootNodes.length > 1 ? createCluster({ rootNodes }) : createClient({ url });
}

function open(library, url, sharded, onError) {
  if (library === "ioredis") return openIoredis(url, sharded).on("error", onError);
  if (library === "redis") return openNodeRedis(url).on("error", onError);
  throw new Error(`REDIS_CLIENT must be ioredis or redis, not ${library}`);
}

/**
 * Opens the two connections that an adapter needs.
 * `subscriptionsConfirmed()` settles once Redis has answered every subscription issued so far: the replies of one
 * connection come in order, so the answer to one more subscription comes last.
 */
export async function openRedis(env, onError) {
  const library = env.REDIS_CLIENT ?? "ioredis";
  const sharded = env.REDIS_ADAPTER === "sharded";
  const publisher = open(library, env.REDIS_URL, sharded, onError);
  const subscriber = open(library, env.REDIS_URL, sharded, onError);
  if (library === "redis") await Promise.all([publisher.connect(), subscriber.connect()]);

  const key = env.REDIS_KEY ?? "socket.io";
  const adapter = sharded
    ? createShardedAdapter(publisher, subscriber, { channelPrefix: key, subscriptionMode: env.SUBSCRIPTION_MODE ?? "dynamic" })
    : createAdapter(publisher, subscriber, {
        key,
        requestsTimeout: Number(env.REQUESTS_TIMEOUT_MS ?? 5000),
        publishOnSpecificResponseChannel: env.SPECIFIC_RESPONSES === "1",
      });

  async function subscriptionsConfirmed() {
    // Outside every channel that an adapter uses.
    const channel = `pod-ready-${process.pid}`;
    if (sharded) {
      // Kept: where the last ordinary subscription ends, ioredis takes the connection for one without any.
      await (library === "redis" ? subscriber.sSubscribe(channel, () => {}) : subscriber.ssubscribe(channel));
      return;
    }
    await subscriber.subscribe(channel, () => {});
    await subscriber.unsubscribe(channel);
  }
  return { adapter, subscriptionsConfirmed };
}
