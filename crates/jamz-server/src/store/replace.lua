-- Replaces the whole state of a session and publishes it, in one step, if nobody else
-- changed the session since it was read.
--
-- KEYS[1]  hash of the session, as in commit.lua
--
-- ARGV[1]  revision the session must have now; 0 if it must not exist
-- ARGV[2]  revision it gets
-- ARGV[3]  seconds until a session that nobody changes is forgotten
-- ARGV[4]  number of fields to write, then for each: field, value
-- then     what `announce` takes
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

-- A DEL here would be the first write, and let the rest write beyond maxmemory. In place of another
-- type, the little that is written may.
local before = redis.call('HKEYS', key)
local fields = tonumber(ARGV[4])
local refused = announce(key, tonumber(ARGV[2]), ARGV[3], 5 + 2 * fields)
if refused then
  return refused
end

local written = { revision = true }
local at = 5
for _ = 1, fields do
  redis.call('HSET', key, ARGV[at], ARGV[at + 1])
  written[ARGV[at]] = true
  at = at + 2
end
for _, field in ipairs(before) do
  if not written[field] then
    redis.call('HDEL', key, field)
  end
end

return 1
