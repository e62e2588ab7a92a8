-- Replaces the whole state of a session and publishes it, in one step, if nobody else
-- changed the session since it was read.
--
-- KEYS[1]  hash of the session, as in commit.lua
--
-- ARGV[1]  revision the session must have now; 0 if it must not exist
-- ARGV[2]  revision it gets
-- ARGV[3]  seconds until a session that nobody changes is forgotten
-- ARGV[4]  number of fields to write, then for each: field, value
-- then     PUBLISH or SPUBLISH, number of messages, then for each: channel, number of segments, segments,
--          as in commit.lua
--
-- Returns 1 if it was replaced, else 0.

local key = KEYS[1]
local revision, damage = read(key)
if revision ~= tonumber(ARGV[1]) then
  return 0
end
if damage == 'type' then
  redis.call('DEL', key)
end

-- Redis refuses a script that wants memory only at its first write: a DEL here would let the
-- rest write beyond maxmemory. In place of another type, the little that is written may.
local before = redis.call('HKEYS', key)
redis.call('HSET', key, 'revision', ARGV[2])
local written = { revision = true }
local at = 5
for _ = 1, tonumber(ARGV[4]) do
  redis.call('HSET', key, ARGV[at], ARGV[at + 1])
  written[ARGV[at]] = true
  at = at + 2
end
for _, field in ipairs(before) do
  if not written[field] then
    redis.call('HDEL', key, field)
  end
end
redis.call('EXPIRE', key, ARGV[3])

local bytes = struct.pack('>I4', tonumber(ARGV[2]))
local publish, messages = ARGV[at], tonumber(ARGV[at + 1])
at = at + 2
for _ = 1, messages do
  local channel, segments = ARGV[at], tonumber(ARGV[at + 1])
  redis.call(publish, channel, table.concat(ARGV, bytes, at + 2, at + 1 + segments))
  at = at + 2 + segments
end

return 1
