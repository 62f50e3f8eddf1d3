-- Takes one token from each of several buckets, or from none where one of them is empty.
--
-- KEYS: the buckets. ARGV: 1 now in ms, then per bucket its tokens per second and its capacity.
-- Returns {1 taken or 0 refused, then per bucket its tokens now, in thousandths}.

local now = tonumber(ARGV[1])
local kept = redis.call('MGET', unpack(KEYS))
local tokens, seen = {}, {}
local taken = 1
for i = 1, #KEYS do
  local rate, capacity = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local had, at
  if kept[i] then had, at = string.match(kept[i], '^(%S+) (%d+)$') end
  had, at = tonumber(had or capacity), tonumber(at or now)
  seen[i] = math.max(now, at)
  tokens[i] = math.min(capacity, had + (seen[i] - at) / 1000 * rate)
  if tokens[i] < 1 then taken = 0 end
end
local answer = {taken}
for i = 1, #KEYS do
  tokens[i] = tokens[i] - taken
  local rate, capacity = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local value = string.format('%.6f %d', tokens[i], seen[i])
  redis.call('SET', KEYS[i], value, 'PX', math.ceil(capacity / rate * 1000) + 1000)
  answer[i + 1] = math.floor(tokens[i] * 1000)
end
return answer
