-- Notes that a replica lives, and counts those that do.
--
-- KEYS[1]  a sorted set: the id of each replica, scored by when it last showed a sign of life, in microseconds by the
--          server's clock
-- ARGV[1]  the id of the one that shows it
-- ARGV[2]  the microseconds after which one that shows none is gone
-- ARGV[3]  how many are noted at most: the latest
--
-- Returns how many there are.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local score = string.format('%.0f', now)
-- Something of another type is none of ours. Whatever else goes wrong ends it, with the others' signs untouched: a full
-- server would let us write, and make everybody feel alone, once something was deleted.
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'zset' and found ~= 'none' then
  redis.call('DEL', KEYS[1])
end
redis.call('ZADD', KEYS[1], score, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
-- Of a clock that was set back since.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. score, '+inf')
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] / 1000))
return redis.call('ZCARD', KEYS[1])
