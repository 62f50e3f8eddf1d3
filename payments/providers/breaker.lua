-- One circuit breaker, decided and written in one step. The same rules stand in Python
-- (LocalBreaker); a test runs both side by side.
--
-- KEYS: 1 the breaker's hash, 2 its permits (token -> expiry), 3 the index of all breakers
-- ARGV: 1 "admit" or "record", 2 the breaker's name, 3 now in ms, then the rules:
--       4 window ms, 5 slots in the window, 6 minimum calls, 7 failure ratio, 8 slow ratio,
--       9 ms it stays open, 10 permits of a half-open breaker, 11 ms a permit is held at most,
--       for "admit":  12 a token
--       for "record": 12 the token, 13 generation, 14 counted, 15 failed, 16 slow (each 0 or 1)
-- Returns for "admit": {admitted, generation, ms until it is worth asking again}
--         for "record": {"" | "opened" | "closed"}

local hash, permits, index = KEYS[1], KEYS[2], KEYS[3]
local verb, name, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local window, slots = tonumber(ARGV[4]), tonumber(ARGV[5])
local minimum_calls = tonumber(ARGV[6])
local failure_ratio, slow_ratio = tonumber(ARGV[7]), tonumber(ARGV[8])
local open_for, permit_count, permit_for = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local token = ARGV[12]
local IDLE_MS = 3600000

local found = redis.call('HMGET', hash, 'state', 'generation', 'probe_at', 'successes')
local state = found[1] or 'closed'
local generation = tonumber(found[2] or '0')
local probe_at = tonumber(found[3] or '0')
local successes = tonumber(found[4] or '0')

local function become(new_state, ...)
  generation = generation + 1
  state = new_state
  redis.call('HSET', hash, 'state', new_state, 'generation', generation, 'successes', 0, ...)
  redis.call('DEL', permits)
  if new_state == 'closed' then
    for slot = 0, slots - 1 do redis.call('HDEL', hash, 'slot' .. slot) end
    redis.call('ZADD', index, now, name)
    redis.call('PEXPIRE', hash, IDLE_MS)
  else
    redis.call('ZADD', index, 'inf', name)
    redis.call('PERSIST', hash)
  end
end

if verb == 'admit' then
  if state == 'closed' then return {1, generation, 0} end
  if state == 'open' then
    if now < probe_at then return {0, generation, probe_at - now} end
    become('half_open')
  end
  redis.call('ZREMRANGEBYSCORE', permits, '-inf', now)
  if redis.call('ZCARD', permits) + successes < permit_count then
    redis.call('ZADD', permits, now + permit_for, token)
    redis.call('PEXPIRE', permits, permit_for)
    return {1, generation, 0}
  end
  return {0, generation, 1000}
end

-- What was admitted before the breaker changed says nothing about how it stands now; "-1" comes
-- from a process that had to decide alone.
local of = tonumber(ARGV[13])
if of ~= generation and not (of == -1 and state == 'closed') then return {''} end
local counted, failed, slow = ARGV[14] == '1', ARGV[15] == '1', ARGV[16] == '1'

if state == 'half_open' then
  if redis.call('ZREM', permits, token) == 0 or not counted then return {''} end
  if failed or slow then
    become('open', 'probe_at', now + open_for)
    return {''}
  end
  if successes + 1 >= permit_count then
    become('closed', 'since', now)
    return {'closed'}
  end
  redis.call('HINCRBY', hash, 'successes', 1)
  return {''}
end
if state ~= 'closed' or not counted then return {''} end

local number = math.floor(now * slots / window)
local calls, failures, slows = 0, 0, 0
for slot = 0, slots - 1 do
  local kept = redis.call('HGET', hash, 'slot' .. slot)
  local of_number, c, f, s
  if kept then of_number, c, f, s = string.match(kept, '^(%d+):(%d+):(%d+):(%d+)$') end
  if of_number and tonumber(of_number) <= number - slots then of_number = nil end
  if slot == number % slots then
    if not of_number then c, f, s = 0, 0, 0 end
    c, f, s = c + 1, f + (failed and 1 or 0), s + (slow and 1 or 0)
    of_number = number
    redis.call('HSET', hash, 'slot' .. slot, string.format('%d:%d:%d:%d', number, c, f, s))
  end
  if of_number then
    calls, failures, slows = calls + c, failures + f, slows + s
  end
end
if calls >= minimum_calls
    and (failures / calls >= failure_ratio or slows / calls >= slow_ratio) then
  become('open', 'since', now, 'probe_at', now + open_for,
    'calls', calls, 'failures', failures, 'slows', slows)
  return {'opened'}
end
redis.call('ZADD', index, now, name)
redis.call('PEXPIRE', hash, IDLE_MS)
return {''}
