-- Does once what the other scripts do, where nobody notices: whether this user may.
--
-- KEYS[1]  a key beside those of the sessions, with the same prefix
-- ARGV[1]  a channel that nobody listens to
-- ARGV[2]  PUBLISH or SPUBLISH

local key = KEYS[1]
redis.call('HSET', key, 'a', '1')
redis.call('HGET', key, 'a')
redis.call('HMGET', key, 'a')
redis.call('HGETALL', key)
redis.call('HKEYS', key)
redis.call('HDEL', key, 'b')
redis.call('EXPIRE', key, 10)
redis.call('DEL', key)
redis.call(ARGV[2], ARGV[1], '')
return 1
