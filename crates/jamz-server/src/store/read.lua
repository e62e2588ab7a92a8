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
