-- Applies one change of a session and publishes it, in one step.
--
-- KEYS[1]  hash of the session: revision, updated_at, and for each part <part> (JSON text)
--          and <part>_at (milliseconds)
--
-- ARGV[1]  time of the change, milliseconds since the epoch
-- ARGV[2]  revision the pod has seen; a hash behind it has lost data
-- ARGV[3]  seconds until a session is forgotten that was changed once
-- ARGV[4]  seconds until a session is forgotten that was changed more often
-- ARGV[5]  guard: '' for none, '=<part>' must have the text ARGV[6], '!<part>' must be absent
-- ARGV[6]  text of the guard
-- ARGV[7]  number of parts to set, then for each: part, JSON text
-- then     what `announce` takes
--
-- Returns {'committed', revision}, or {'behind' | 'refused', field, value, field, value, ...}.

local key = KEYS[1]
local revision, damage = read(key)

local function unchanged(verdict)
  local reply = damage and {} or redis.call('HGETALL', key)
  table.insert(reply, 1, verdict)
  return reply
end

-- at the greatest revision a session can only be replaced
if revision < tonumber(ARGV[2]) or revision == most then
  return unchanged('behind')
end

local guard = ARGV[5]
if guard ~= '' then
  local text = not damage and redis.call('HGET', key, string.sub(guard, 2))
  local holds
  if string.sub(guard, 1, 1) == '=' then
    holds = text == ARGV[6]
  else
    holds = not text
  end
  if not holds then
    return unchanged('refused')
  end
end

if damage then
  -- nobody has it any more: it begins anew
  redis.call('DEL', key)
end

local parts = tonumber(ARGV[7])
revision = revision + 1
local refused = announce(key, revision, revision > 1 and ARGV[4] or ARGV[3], 8 + 2 * parts)
if refused then
  return refused
end

local at = 8
local updated_at = tonumber(redis.call('HGET', key, 'updated_at') or '0')
for _ = 1, parts do
  local part, text = ARGV[at], ARGV[at + 1]
  at = at + 2
  -- a lagging clock must not make a change older than what it replaces
  local stamp = tonumber(ARGV[1])
  local before = redis.call('HGET', key, part .. '_at')
  if before and tonumber(before) + 1 > stamp then
    stamp = tonumber(before) + 1
  end
  if stamp > updated_at then
    updated_at = stamp
  end
  redis.call('HSET', key, part, text, part .. '_at', string.format('%.0f', stamp))
end

redis.call('HSET', key, 'updated_at', string.format('%.0f', updated_at))

return { 'committed', revision }
