-- Stands before the other scripts: what can be read of a session.

-- the greatest revision
local most = 4294967294

-- The revision of the session, 0 if nobody knows it. Then what is wrong with it: nothing, 'hash'
-- if one of its numbers is none, 'type' if the key holds something else.
local function read(key)
  local values = redis.pcall('HMGET', key, 'revision', 'updated_at',
    'controller_at', 'playback_at', 'playlist_at')
  if values.err then
    if string.find(values.err, 'WRONGTYPE', 1, true) then
      return 0, 'type'
    end
    redis.call('HGET', key, 'revision') -- fails in the same way
  end
  for index, text in ipairs(values) do
    if text and (not string.find(text, '^%d+$') or #text > (index == 1 and 10 or 15)) then
      return 0, 'hash'
    end
  end
  local revision = tonumber(values[1] or '0')
  if revision > most then
    return 0, 'hash'
  end
  return revision, nil
end

-- Gives the session its next revision and tells everybody, or neither: returns what was refused, and
-- then the revision is as before. Stands before all other writes of a script. Redis looks at memory, and
-- whether anything may be written, at the first write, which is the one here; at rights, at each command.
--
-- `at` is where ARGV has: PUBLISH or SPUBLISH, number of messages, then for each: channel, number of
-- segments, segments. A message is its segments joined by the revision as 4 bytes, big-endian.
local function announce(key, revision, ttl, at)
  local before = redis.call('HGET', key, 'revision')
  redis.call('HSET', key, 'revision', string.format('%.0f', revision))
  local reply = redis.pcall('EXPIRE', key, ttl)
  local bytes = struct.pack('>I4', revision)
  local publish, messages = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  for _ = 1, messages do
    if type(reply) == 'table' and reply.err then
      break
    end
    local channel, segments = ARGV[at], tonumber(ARGV[at + 1])
    reply = redis.pcall(publish, channel, table.concat(ARGV, bytes, at + 2, at + 1 + segments))
    at = at + 2 + segments
  end
  if type(reply) ~= 'table' or not reply.err then
    return nil
  end
  if before then
    redis.call('HSET', key, 'revision', before)
  else
    redis.call('HDEL', key, 'revision')
  end
  return reply
end
